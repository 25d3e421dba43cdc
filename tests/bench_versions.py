# SPDX-License-Identifier: Apache-2.0
"""bench_versions.py NAME=FILE,FILE… …: a header with a number for each NAME.

It is another one when the files say something else; comments and layout do not count.
"""

import hashlib
import re
import sys

TOKEN = re.compile(
    r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|/\*.*?\*/|//[^\n]*|\s+""", re.DOTALL
)

print("/* made by bench_versions.py */")
print("#pragma once")
for argument in sys.argv[1:]:
    name, files = argument.split("=")
    code = hashlib.sha256()
    for file in files.split(","):
        with open(file, encoding="utf-8") as f:
            code.update(TOKEN.sub(lambda m: m[1] or " ", f.read()).encode())
    print(f"#define {name} 0x{code.hexdigest()[:8]}u")
