"""What git holds: objects, the tree of a commit or of the workspace, and the history."""
