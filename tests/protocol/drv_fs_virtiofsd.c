/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the file system driver against virtiofsd, a file server that is not ours: a directory is listed, files are read,
 * written, made and removed through it, and what came of it is looked at with the host's own eyes. Prints TAP.
 * usage: drv_fs_virtiofsd [VIRTIOFSD]
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vio/drv_fs.h>
#include <vio/vhost_user_driver.h>

#include "spec/virtio.h"

#define WAIT UINT64_C(10000000000)

enum { BYTES = 1 << 20, MANY = 700 };

static unsigned count, failures;

static void ok(bool good, const char *what)
{
    count++;
    failures += !good;
    printf("%sok %u - %s\n", good ? "" : "not ", count, what);
    fflush(stdout);
}

static int skip(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 0;
}

/* ------------------------------------------------------------------ the server */

struct server {
    pid_t pid;
    char folder[64], shared[128], socket[128];
};

static const char *find_virtiofsd(int argc, char **argv)
{
    static const char *const places[] = { "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/bin/virtiofsd" };

    if (argc > 1)
        return argv[1];
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

/* The one in C that came with QEMU, and the one in Rust, take other words. */
static void run(const char *program, const struct server *s)
{
    char socket[160], source[160], shared[160];
    bool rust = strstr(program, "/qemu/") == NULL;

    snprintf(socket, sizeof(socket), "--socket-path=%s", s->socket);
    snprintf(source, sizeof(source), "source=%s", s->shared);
    snprintf(shared, sizeof(shared), "--shared-dir=%s", s->shared);
    if (freopen("/dev/null", "w", stdout) == NULL)
        _exit(126);
    if (rust)
        execl(program, program, socket, shared, "--sandbox=none", (char *)NULL);
    else
        execl(program, program, socket, "-o", source, "-o", "sandbox=chroot", "-o", "cache=none", "-f", (char *)NULL);
    _exit(127);
}

static bool start(struct server *s, const char *program)
{
    snprintf(s->folder, sizeof(s->folder), "/tmp/vio-fs-XXXXXX");
    if (mkdtemp(s->folder) == NULL)
        return false;
    snprintf(s->shared, sizeof(s->shared), "%s/shared", s->folder);
    snprintf(s->socket, sizeof(s->socket), "%s/socket", s->folder);
    if (mkdir(s->shared, 0755) != 0)
        return false;
    s->pid = fork();
    if (s->pid == 0)
        run(program, s);
    for (unsigned i = 0; i < 100; i++) {
        if (access(s->socket, F_OK) == 0)
            return true;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            break;
        poll(NULL, 0, 50);
    }
    return false;
}

static void stop(struct server *s)
{
    char command[200];

    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        waitpid(s->pid, NULL, 0);
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", s->folder);
    if (s->folder[0] != 0 && system(command) != 0)
        fprintf(stderr, "# %s stays behind\n", s->folder);
}

/* What the host has in a file of the shared directory; -1: none. */
static ssize_t host_read(const struct server *s, const char *name, void *to, size_t n)
{
    char path[300];
    int fd;
    ssize_t got;

    snprintf(path, sizeof(path), "%s/%s", s->shared, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    got = read(fd, to, n);
    close(fd);
    return got;
}

static void host_write(const struct server *s, const char *name, const void *from, size_t n)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", s->shared, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, from, n) != (ssize_t)n)
        ok(false, "the host writes a file");
    close(fd);
}

/* ------------------------------------------------------------------ what is tried */

struct listing {
    unsigned n, seen[MANY];
    bool dots[2];
};

static void on_entry(void *ctx, const struct vio_drv_fs_dirent *entry)
{
    struct listing *l = ctx;
    unsigned number;

    l->n++;
    l->dots[0] |= strcmp(entry->name, ".") == 0;
    l->dots[1] |= strcmp(entry->name, "..") == 0;
    if (sscanf(entry->name, "entry-with-a-long-name-%u", &number) == 1 && number < MANY)
        l->seen[number]++;
}

static void try_listing(struct vio_drv_fs *f, const struct server *s)
{
    struct listing l = { .n = 0 };
    uint64_t handle, offset = 0;
    unsigned once = 0;
    int n = 0;
    char name[64];

    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "entry-with-a-long-name-%u", i);
        host_write(s, name, "x", 1);
    }
    ok(vio_drv_fs_opendir(f, VIO_DRV_FS_ROOT, &handle, WAIT) == 0, "the root opens");
    while ((n = vio_drv_fs_readdir(f, VIO_DRV_FS_ROOT, handle, &offset, on_entry, &l, WAIT)) > 0)
        ;
    for (unsigned i = 0; i < MANY; i++)
        once += l.seen[i] == 1;
    ok(n == 0 && once == MANY && l.dots[0] && l.dots[1], "a listing of 700 names has each once");
    ok(vio_drv_fs_releasedir(f, VIO_DRV_FS_ROOT, handle, WAIT) == 0, "the listing is let go");
}

static void try_reading(struct vio_drv_fs *f, const struct server *s, uint8_t *bytes, uint8_t *back)
{
    struct vio_drv_fs_entry e;
    uint64_t handle;

    host_write(s, "from-the-host", bytes, BYTES);
    ok(vio_drv_fs_lookup(f, VIO_DRV_FS_ROOT, "from-the-host", &e, WAIT) == 0 && e.attr.size == BYTES &&
           (e.attr.mode & VIO_DRV_FS_KIND) == VIO_DRV_FS_FILE, "a file of the host's is found, and has its size");
    ok(vio_drv_fs_open(f, e.node, VIO_DRV_FS_READ, &handle, WAIT) == 0, "it opens");
    ok(vio_drv_fs_read(f, e.node, handle, 0, back, BYTES, WAIT) == BYTES && memcmp(bytes, back, BYTES) == 0,
       "1 MiB is read as it is");
    ok(vio_drv_fs_read(f, e.node, handle, BYTES - 3, back, 100, WAIT) == 3 && memcmp(bytes + BYTES - 3, back, 3) == 0,
       "reading stops where the file ends");
    ok(vio_drv_fs_write(f, e.node, handle, 0, "x", 1, WAIT) == -EBADF, "what was opened to read is not written");
    ok(vio_drv_fs_release(f, e.node, handle, WAIT) == 0 && vio_drv_fs_forget(f, e.node, 1, WAIT) == 0, "it is let go");
    ok(vio_drv_fs_lookup(f, VIO_DRV_FS_ROOT, "not-there", &e, WAIT) == -ENOENT, "what is not there is not found");
}

static void try_writing(struct vio_drv_fs *f, const struct server *s, const uint8_t *bytes, uint8_t *back)
{
    struct vio_drv_fs_entry dir, e, again;
    struct vio_drv_fs_attr attr;
    uint64_t handle;

    ok(vio_drv_fs_mkdir(f, VIO_DRV_FS_ROOT, "made", 0755, &dir, WAIT) == 0, "a directory is made");
    ok(vio_drv_fs_create(f, dir.node, "file", VIO_DRV_FS_READ_WRITE | VIO_DRV_FS_EXCLUSIVE, 0640, &e, &handle, WAIT) == 0,
       "a file is made in it");
    ok(vio_drv_fs_write(f, e.node, handle, 0, bytes, BYTES, WAIT) == BYTES, "1 MiB is written");
    ok(vio_drv_fs_write(f, e.node, handle, 1000, "HELLO", 5, WAIT) == 5, "and some of it again");
    ok(vio_drv_fs_fsync(f, e.node, handle, WAIT) == 0, "it is flushed");
    ok(host_read(s, "made/file", back, BYTES) == BYTES && memcmp(back, bytes, 1000) == 0 &&
           memcmp(back + 1000, "HELLO", 5) == 0 && memcmp(back + 1005, bytes + 1005, BYTES - 1005) == 0,
       "the host finds what was written");
    ok(vio_drv_fs_getattr(f, e.node, &attr, WAIT) == 0 && attr.size == BYTES && (attr.mode & 0777) == 0640,
       "its size and mode are as they were made");
    ok(vio_drv_fs_walk(f, "made/file", &again, WAIT) == 0 && again.node == e.node, "it is found by its path");
    ok(vio_drv_fs_release(f, e.node, handle, WAIT) == 0, "it is let go");
    ok(vio_drv_fs_rmdir(f, VIO_DRV_FS_ROOT, "made", WAIT) == -ENOTEMPTY, "a directory with a file in it stays");
    ok(vio_drv_fs_unlink(f, dir.node, "file", WAIT) == 0 && vio_drv_fs_rmdir(f, VIO_DRV_FS_ROOT, "made", WAIT) == 0,
       "both are removed");
    ok(host_read(s, "made/file", back, 1) == -1, "the host finds nothing there any more");
    ok(vio_drv_fs_forget(f, e.node, 2, WAIT) == 0 && vio_drv_fs_forget(f, dir.node, 1, WAIT) == 0, "they are forgotten");
}

static void try_all(struct vio_drvdev *d, const struct server *s)
{
    static uint8_t bytes[BYTES], back[BYTES];
    struct vio_drv_fs *f = vio_drv_fs_of(d);
    struct vio_drv_fs_stat stat;
    uint32_t x = 1;

    for (unsigned i = 0; i < BYTES; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    ok(f != NULL, "the device runs");
    if (f == NULL) {
        printf("# %s\n", vio_drvdev_why(d));
        return;
    }
    ok(vio_drv_fs_start(f, WAIT) == 0, "the session begins");
    try_listing(f, s);
    try_reading(f, s, bytes, back);
    try_writing(f, s, bytes, back);
    ok(vio_drv_fs_statfs(f, &stat, WAIT) == 0 && stat.blocks > 0 && stat.name_max >= 255, "the file system tells its size");
    ok(vio_drv_fs_end(f, WAIT) == 0, "the session ends");
}

/* One life of server and driver. plain: the ring as it was in the beginning. */
static void life(const char *program, bool plain)
{
    struct vio_drv_fs_params params = { .tag = "shared" };
    struct vio_arena_params arena_params = { .size = 4 << 20, .small_pages = true };
    struct vio_vud_params vud = { .fd = -1, .type = VIRTIO_ID_FS };
    struct vio_drv_fs_driver driver;
    struct server s = { .pid = -1 };
    struct vio_bus *bus = NULL;
    struct vio_transport *t;
    struct vio_drvdev *d;
    char why[VIO_DRV_WHY];

    vio_drv_fs_driver(&driver, &params);
    if (plain) {
        vio_features_clear(&driver.driver.features, VIRTIO_F_RING_PACKED);
        vio_features_clear(&driver.driver.features, VIRTIO_F_EVENT_IDX);
    }
    ok(start(&s, program), "virtiofsd listens");
    vud.path = s.socket;
    if (vio_arena_create(&arena_params, &vud.arena) != 0 || vio_bus_create(vio_arena_platform(vud.arena), &bus) != 0) {
        ok(false, "there is memory");
    } else if (vio_vud_create(&vud, &t, why) != 0) {
        ok(false, "a connection");
        printf("# %s\n", why);
    } else if (vio_bus_add(bus, t, 0, &driver.driver, &d) != 0) {
        ok(false, "the device is added");
    } else {
        printf("# a %s ring, %s\n", vio_drvdev_has(d, VIRTIO_F_RING_PACKED) ? "packed" : "split",
               vio_drvdev_has(d, VIRTIO_F_EVENT_IDX) ? "with EVENT_IDX" : "plain");
        try_all(d, &s);
    }
    vio_bus_destroy(bus);
    vio_arena_destroy(vud.arena);
    stop(&s);
}

int main(int argc, char **argv)
{
    const char *program = find_virtiofsd(argc, argv);

    if (program == NULL)
        return skip("virtiofsd is not installed (Debian: qemu-system-common or virtiofsd)");
    if (geteuid() != 0)
        return skip("virtiofsd needs root here");
    signal(SIGPIPE, SIG_IGN);
    life(program, false);
    life(program, true);
    printf("1..%u\n", count);
    return failures > 0;
}
