# SPDX-License-Identifier: Apache-2.0
"""The database of bench_control: the accounts of the TPC-B benchmark in sqlite, changed at random.

Random rows of a table of about 40 MiB, through a page cache of 16 MiB of its own and the kernel's.
The table has few and long rows and is made within sqlite, to be there before anything is scored.
Runs until it is killed; descriptor 3 gets a byte for each transaction.
"""

import os
import random
import sqlite3

ROWS = 50000

random.seed(1)
db = sqlite3.connect("/dev/shm/taskmem-bench/database", isolation_level=None)
db.executescript(
    "pragma page_size = 4096; pragma journal_mode = memory; pragma synchronous = off;"
    "pragma cache_size = -16384; drop table if exists account; drop table if exists history;"
    "create table account (id integer primary key, balance integer, filler text);"
    "create table history (id integer, delta integer)"
)
db.execute(
    "insert into account with recursive n(i) as (select 0 union all select i + 1 from n"
    " where i + 1 < ?) select i, 0, ? || i from n",
    (ROWS, random.randbytes(390).hex()),
)
while True:
    db.execute("begin")
    for _ in range(20):
        row, delta = random.randrange(ROWS), random.randrange(-5000, 5000)
        db.execute("update account set balance = balance + ? where id = ?", (delta, row))
        db.execute("select balance from account where id = ?", (row,)).fetchone()
        db.execute("insert into history values (?, ?)", (row, delta))
    db.execute("commit")
    os.write(3, b".")
