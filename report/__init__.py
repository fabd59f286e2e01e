"""The site of a study."""

from stages.domain.import_path import is_starting_program, leave_working_folder

if is_starting_program():
    leave_working_folder()
