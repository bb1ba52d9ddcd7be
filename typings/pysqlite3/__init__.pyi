# pysqlite3 is the standard library's sqlite3 built on a newer SQLite: the same names, the same types.
from sqlite3 import *
