"""The stages of a study and the command line `promotion`."""

from stages.domain.import_path import is_starting_program, leave_working_folder

if is_starting_program():
    leave_working_folder()
