"""What all of Perclip's programs share: one-line errors, streams that never end a program, files written whole,
folders with one owner.

Door: `atomic_write`, `bounded_folder`, `command_line`, `folder_lock`, `printable`, `user_folders`.
Imports: `model`.
"""
