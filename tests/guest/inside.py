# SPDX-License-Identifier: MIT
"""What else a guest gets into its file system: programs of the host's with the libraries they need, files, and modules of
its kernel that the initramfs leaves out. A Guest takes what `cpio()` gives as `extra`:

    with Guest(folder, [], "sh /modules.sh && check probe vio probe ...", extra=cpio(programs={"vio": VIO},
                                                                                  modules=["vhost_net"])) as guest:
"""
import os
import re
import subprocess

from vioguest import GUEST_DIR, Failure, cpio_entry, image


class Archive:
    def __init__(self):
        self.data, self.numbers, self.seen = b"", 1000, set()

    def add(self, name, data, mode):
        if name in self.seen:
            return
        self.folders(os.path.dirname(name))
        self.seen.add(name)
        self.numbers += 1
        self.data += cpio_entry(name, data, mode, self.numbers)

    def folders(self, name):
        if name and name not in self.seen:
            self.folders(os.path.dirname(name))
            self.seen.add(name)
            self.numbers += 1
            self.data += cpio_entry(name, b"", 0o40755, self.numbers)

    def copy(self, name, path, mode=0o100755):
        with open(path, "rb") as file:
            self.add(name, file.read(), mode)


def libraries(path):
    """What the loader would load for a program of the host's."""
    said = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if "not found" in said.stdout:
        raise Failure("%s: a library is missing:\n%s" % (path, said.stdout))
    return re.findall(r"(?:=> |^\s+)(/\S+) \(", said.stdout, re.M) # none for one that is linked statically


def module_files(modules):
    """The files of these modules, those that they need before them."""
    tree = os.path.join(GUEST_DIR, "modules")
    tree = os.path.join(tree, os.listdir(tree)[0])
    known, files = {}, []
    for folder, _, names in os.walk(tree):
        for name in names:
            if name.endswith(".ko"):
                known[name[:-3].replace("-", "_")] = os.path.join(folder, name)

    def need(module):
        path = known.get(module.replace("-", "_"))
        if path is None:
            raise Failure("the guest's kernel has no module '%s'" % module)
        if path in files:
            return
        info = subprocess.run(["modinfo", "-F", "depends", path], stdout=subprocess.PIPE, text=True, check=True,
                              env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
        for other in filter(None, info.stdout.strip().split(",")):
            need(other)
        files.append(path)

    for module in modules:
        need(module)
    return files


def cpio(programs=None, files=None, modules=()):
    """An archive for Guest's `extra`. programs: name in /bin -> path here; files: path in the guest -> path here; the modules
    are loaded by `sh /modules.sh`, in their order."""
    image() # where the kernel comes from
    archive = Archive()
    for name, path in (programs or {}).items():
        archive.copy("bin/" + name, path)
        for library in libraries(path):
            archive.copy(library.lstrip("/"), library)
    for name, path in (files or {}).items():
        archive.copy(name.lstrip("/"), path, 0o100644)
    lines = ["set -e"]
    for path in module_files(modules):
        name = "extra/" + os.path.basename(path)
        archive.copy(name, path, 0o100644)
        lines.append("grep -q '^%s ' /proc/modules || insmod /%s" % (os.path.basename(path)[:-3].replace("-", "_"), name))
    archive.add("modules.sh", "\n".join(lines).encode() + b"\n", 0o100755)
    return archive.data + cpio_entry("TRAILER!!!", b"", 0, 0)
