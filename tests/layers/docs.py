# SPDX-License-Identifier: MIT
# What the documents name must be there: `path/file.c:function`, `path/file.c` and folders below src, tests, docs; and the bare-metal
# table has what is tested.
import os
import re
import sys

root = sys.argv[1]
results = []


def check(document):
    with open(os.path.join(root, document), encoding='utf-8') as f:
        text = f.read()
    for name in sorted(set(re.findall(r'`((?:src|include|tests|docs|fuzz|bench|scripts|examples)/[^`\s]*)`', text))):
        path, _, function = name.partition(':')
        # `name.[ch]` and `blk*.c` stand for several files
        if any(c in path for c in '*[{'):
            continue
        where = os.path.join(root, path.rstrip('/'))
        ok = os.path.exists(where)
        if ok and function:
            with open(where, encoding='utf-8') as f:
                ok = re.search(r'\b%s\s*\(' % re.escape(function), f.read()) is not None
        results.append((ok, '%s names %s' % (document, name)))


def bare_metal():
    """README's table and the tests that there are: the same, and no cell but "yes"."""
    with open(os.path.join(root, 'tests/baremetal/meson.build'), encoding='utf-8') as f:
        ways = re.findall(r"^  '(\w+)': \[(.*)\],$", f.read(), re.M)
    tests = {'%s-%s' % (machine, way) for machine, names in ways for way in re.findall(r"'([^']+)'", names)}
    with open(os.path.join(root, 'README.md'), encoding='utf-8') as f:
        rows = re.findall(r'^\|((?:[^|]*\|){10}) `([^`]+)` \|$', f.read(), re.M)
    for test in sorted(tests | {name for _, name in rows}):
        found = [cells.split('|')[4:-1] for cells, name in rows if name == test]
        ok = test in tests and len(found) == 1 and [c.strip() for c in found[0]] == ['yes'] * 6
        results.append((ok, 'the bare-metal table has one row for the test %s' % test))


documents = ['README.md'] + sorted('docs/' + d for d in os.listdir(os.path.join(root, 'docs')) if d.endswith('.md'))
for document in documents:
    if os.path.exists(os.path.join(root, document)):
        check(document)
bare_metal()
print('1..%d' % len(results))
for i, (ok, what) in enumerate(results, 1):
    print('%s %d - %s' % ('ok' if ok else 'not ok', i, what))
sys.exit(0 if all(ok for ok, _ in results) else 1)
