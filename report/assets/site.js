/* Makes tables sortable and filterable, with their state in the address, and adds the search box. Everything that a
   page says is there without this file. */
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.replace("no-js", "js");
  const base = document.currentScript.dataset.root ?? "";
  const make = (tag, attributes = {}, text = "") => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  };

  /* --- state in the address: ?evidence.sort=-mean&evidence.q=d8 --- */
  const state = new URLSearchParams(location.search);
  const keep = (key, value) => {
    if (value) state.set(key, value); else state.delete(key);
    const query = state.toString();
    try { history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash); } catch { /* some browsers forbid it for files */ }
  };

  const enhance = (block) => {
    const table = block.querySelector("table");
    const body = table.tBodies[0];
    const id = block.dataset.table;
    const rows = Array.from(body.rows);
    const heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
    /* A column with any number sorts by numbers, and what has none comes last. */
    const numeric = heads.map((_, column) => rows.some((row) => row.cells[column].dataset.v !== undefined));
    const value = (row, column) => {
      const cell = row.cells[column];
      if (!numeric[column]) return cell.textContent.trim() || null;
      return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    };
    const sort = (column, descending) => {
      const sign = descending ? -1 : 1;
      const sorted = rows.map((row, place) => [value(row, column), place, row]).sort((a, b) => {
        if (a[0] === null || b[0] === null) return a[0] === b[0] ? a[1] - b[1] : a[0] === null ? 1 : -1;
        const order = typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0], "en", { numeric: true });
        return order ? sign * order : a[1] - b[1];
      });
      body.append(...sorted.map((entry) => entry[2]));
      heads.forEach((head, n) => {
        if (n === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending"); else head.removeAttribute("aria-sort");
      });
    };
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" }, head.textContent.trim());
      if (head.title) button.title = head.title;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        sort(column, descending);
        keep(`${id}.sort`, (descending ? "-" : "") + head.dataset.key);
      });
    });
    const tools = block.querySelector(".tools");
    const label = make("label", {}, "Filter ");
    const input = make("input", { type: "search", autocomplete: "off" });
    label.append(input);
    const shown = make("span", { role: "status" });
    tools.append(label, shown);
    tools.hidden = false;
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of rows) {
        const text = Array.from(row.cells, (cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        left += row.hidden ? 0 : 1;
      }
      shown.textContent = words.length ? `${left} of ${rows.length} rows` : "";
    };
    input.addEventListener("input", () => { filter(); keep(`${id}.q`, input.value.trim()); });
    const wanted = state.get(`${id}.sort`) || "";
    const column = heads.findIndex((head) => head.dataset.key === wanted.replace(/^-/, ""));
    if (column >= 0) sort(column, wanted.startsWith("-"));
    const asked = state.get(`${id}.q`);
    if (asked) { input.value = asked; filter(); }
    const folded = block.closest("details");
    if (folded && (asked || column >= 0)) folded.open = true;
  };
  document.querySelectorAll("[data-table]").forEach(enhance);

  /* A link to a row inside a closed part opens it. A fragment that is no text names nothing. */
  const named = () => {
    try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
  };
  const reveal = () => {
    const target = document.getElementById(named());
    const details = target?.closest("details");
    if (details && !details.open) { details.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

  /* --- search over pages, configurations, gates, rules and runs --- */
  const MOST = 12;
  const entries = () => {
    const index = window.SITE_INDEX;
    const found = index.entries.map(([text, href, more]) => [text, href, `${text} ${more}`.toLowerCase()]);
    for (const [place, runs] of Object.entries(index.runs)) {
      const [rung, host] = place.split("/");
      for (const [config, seed] of runs) {
        const run = `${rung}/${index.configs[config]}/${host}/${seed}`;
        found.push([run, `runs/${run}.html`, run]);
      }
    }
    return found;
  };
  /* Hits that begin with what was typed come first, then those in which a word does, then the others; each in its order. */
  const rank = (text, words) => {
    if (text.startsWith(words.join(" "))) return 0;
    const tokens = text.split(/[^a-z0-9_-]+/);
    return words.every((word) => tokens.some((token) => token.startsWith(word))) ? 1 : 2;
  };
  const place = document.querySelector(".search");
  if (!place) return;  // a report in one file, which the browser itself searches
  const label = make("label", { class: "visually-hidden", for: "Search" }, "Search pages, configurations, rules and runs");
  const box = make("input", { id: "Search", type: "search", placeholder: "Search names, rules, runs", autocomplete: "off" });
  const list = make("ul", { id: "Found" });
  list.hidden = true;
  const said = make("span", { class: "visually-hidden", role: "status" });
  place.append(label, box, list, said);
  let all = null;
  let loading = null;
  const load = () => loading ??= new Promise((done) => {
    const script = make("script", { src: base + "assets/search.js" });
    script.addEventListener("load", done);
    document.head.append(script);
  });
  const find = async () => {
    if (box.value.trim()) await load();
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);  // what stands there now, after the wait
    if (!words.length) { list.hidden = true; said.textContent = ""; return; }
    all ??= entries();
    const hits = all.filter(([, , text]) => words.every((word) => text.includes(word)))
      .map((hit, place) => [rank(hit[2], words), place, hit]).sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .map((entry) => entry[2]);
    list.replaceChildren(...hits.slice(0, MOST).map(([text, href]) => {
      const item = make("li");
      item.append(make("a", { href: base + href }, text));
      return item;
    }));
    if (hits.length > MOST) list.append(make("li", { class: "muted" }, `and ${hits.length - MOST} more: type on`));
    if (!hits.length) list.append(make("li", { class: "muted" }, "nothing found"));
    said.textContent = `${hits.length} found`;
    list.hidden = false;
  };
  box.addEventListener("input", find);
  place.addEventListener("keydown", (event) => {
    const links = Array.from(list.querySelectorAll("a"));
    const here = links.indexOf(document.activeElement);
    if (event.key === "Escape") { list.hidden = true; box.focus(); }
    if (event.key === "Enter" && document.activeElement === box && links.length) links[0].click();
    if (event.key === "ArrowDown" && links.length) { event.preventDefault(); links[Math.min(here + 1, links.length - 1)].focus(); }
    if (event.key === "ArrowUp" && here >= 0) { event.preventDefault(); (here ? links[here - 1] : box).focus(); }
  });
  document.addEventListener("click", (event) => { if (!place.contains(event.target)) list.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(input|textarea)$/i.test(document.activeElement.tagName)) { event.preventDefault(); box.focus(); }
  });
})();
