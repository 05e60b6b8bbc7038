# SPDX-License-Identifier: Apache-2.0
"""What stand-ins share: strict command lines, and a root directory entered by user and mount namespaces."""
import ctypes
import os
import sys

# sched.h, sys/mount.h
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19
MNT_DETACH = 2
libc = ctypes.CDLL(None, use_errno=True)


def refuse(engine, word):
    print(f"{engine} stand-in: not in the documented command line: {word}", file=sys.stderr)
    sys.exit(2)


def parse(engine, words, flags, options):
    """Options before the first word that is none, as pairs of name and value, and the rest."""
    given, rest = [], list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in flags and not equals:
            given.append((name, ""))
        elif name in options and (equals or rest):
            given.append((name, value if equals else rest.pop(0)))
        else:
            refuse(engine, name)
    return given, rest


def contain(root, trees, environment, argv):
    """Runs argv in root, in place of this process, with trees of the host mounted on directories that are there."""
    uid, gid = os.getuid(), os.getgid()
    must("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    write("setgroups", "deny")
    write("uid_map", f"{uid} {uid} 1")
    write("gid_map", f"{gid} {gid} 1")
    mount(None, "/", MS_SLAVE | MS_REC)
    enter(root, trees, environment, argv)


def enter(root, trees, environment, argv):
    mount(root, root, MS_BIND)
    for tree in trees:
        mount(tree, root + tree, MS_BIND | MS_REC)
    os.chdir(root)
    must("pivot_root", b".", b".")
    must("umount2", b".", MNT_DETACH)
    os.execve(argv[0], argv, environment)


def mount(source, target, flags):
    must("mount", source and source.encode(), target.encode(), None, ctypes.c_ulong(flags), None)


def must(name, *words):
    if getattr(libc, name)(*words) != 0:
        raise OSError(ctypes.get_errno(), f"{name} {words}: {os.strerror(ctypes.get_errno())}")


def write(name, text):
    with open(f"/proc/self/{name}", "w", encoding="utf-8") as file:
        file.write(text)
