/* SPDX-License-Identifier: MIT */
/* The file system driver over a fake transport and a tree in memory: files, listings, mappings, and a server that lies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <vio/drv_fs.h>

#include "spec/virtio.h"
#include "tree_server.h"

#define PACKED VIO_FEATURE(VIRTIO_F_RING_PACKED)
#define EVENT_IDX VIO_FEATURE(VIRTIO_F_EVENT_IDX)
#define SECOND UINT64_C(1000000000)

enum { ROOT = VIO_DRV_FS_ROOT };

static struct script *prepare(struct tree_server *t, uint64_t features)
{
    struct virtio_fs_config config = { .tag = "my\tfiles", .num_request_queues = vio_le32_of(1) };
    struct script *s = script_new();

    s->serve = tree_serve;
    s->ctx = t;
    script_start(s, 2, features, &config, sizeof(config), &vio_driver_fs);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    return s;
}

static struct script *start(struct tree_server *t, uint64_t features)
{
    struct script *s = prepare(t, features);

    assert_int_equal(vio_drv_fs_start(vio_drv_fs_of(s->d), SECOND), 0);
    return s;
}

/* ---------------------------------------------------------------- files */

static void check_files(uint64_t features)
{
    struct tree_server *t = tree_new();
    struct script *s = prepare(t, features);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    static uint8_t bytes[150000], back[150001];
    struct vio_drv_fs_entry e, dir;
    struct vio_drv_fs_attr attr;
    struct vio_drv_fs_stat stat;
    char tag[VIO_DRV_FS_TAG];
    uint64_t handle;

    vio_drv_fs_tag(f, tag);
    assert_string_equal(tag, "my?files");
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "a", &e, SECOND), -EINVAL); /* no session yet */
    assert_int_equal(vio_drv_fs_start(f, SECOND), 0);
    assert_int_equal(vio_drv_fs_start(f, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "a", &e, SECOND), -ENOENT);
    assert_int_equal(vio_drv_fs_mkdir(f, ROOT, "d", 0755, &dir, SECOND), 0);
    assert_int_equal(vio_drv_fs_mkdir(f, ROOT, "d", 0755, &e, SECOND), -EEXIST);
    assert_int_equal(dir.attr.mode & VIO_DRV_FS_KIND, VIO_DRV_FS_DIRECTORY);
    assert_int_equal(vio_drv_fs_create(f, dir.node, "file", VIO_DRV_FS_READ_WRITE, 0644, &e, &handle, SECOND), 0);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 11 + (i >> 8));
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 0, bytes, sizeof(bytes), SECOND), sizeof(bytes));
    assert_int_equal(vio_drv_fs_fsync(f, e.node, handle, SECOND), 0);
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, 0, back, sizeof(back), SECOND), sizeof(bytes));
    assert_memory_equal(back, bytes, sizeof(bytes));
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, 149990, back, 100, SECOND), 10);
    assert_memory_equal(back, bytes + 149990, 10);
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, 200000, back, 100, SECOND), 0);
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, UINT64_MAX, back, 2, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, UINT64_MAX, back, 2, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_getattr(f, e.node, &attr, SECOND), 0);
    assert_int_equal(attr.size, sizeof(bytes));
    assert_int_equal(attr.mode & VIO_DRV_FS_KIND, VIO_DRV_FS_FILE);
    assert_int_equal(vio_drv_fs_release(f, e.node, handle, SECOND), 0);
    assert_int_equal(t->node[e.node].opens, 0);
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, 0, back, 1, SECOND), -EBADF);
    assert_int_equal(vio_drv_fs_open(f, dir.node, VIO_DRV_FS_READ, &handle, SECOND), -EISDIR);
    assert_int_equal(vio_drv_fs_statfs(f, &stat, SECOND), 0);
    assert_int_equal(stat.free, 500);
    /* By a path: what was found on the way is forgotten. */
    assert_int_equal(vio_drv_fs_walk(f, "d/file", &e, SECOND), 0);
    assert_int_equal(vio_drv_fs_walk(f, "//d//", &e, SECOND), 0);
    assert_int_equal(e.node, dir.node);
    assert_int_equal(vio_drv_fs_walk(f, "", &e, SECOND), 0);
    assert_int_equal(e.node, ROOT);
    assert_int_equal(vio_drv_fs_walk(f, "d/none", &e, SECOND), -ENOENT);
    assert_int_equal(t->node[dir.node].lookups, 2); /* mkdir, and the walk that ended there */
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(vio_drv_fs_forget(f, dir.node, 0, SECOND), 0); /* more than the queue holds */
    assert_int_equal(vio_drv_fs_forget(f, dir.node, 2, SECOND), 0);
    assert_int_equal(t->node[dir.node].lookups, 0);
    assert_int_equal(vio_drv_fs_unlink(f, dir.node, "none", SECOND), -ENOENT);
    assert_int_equal(vio_drv_fs_unlink(f, dir.node, "file", SECOND), 0);
    assert_int_equal(vio_drv_fs_rmdir(f, ROOT, "d", SECOND), 0);
    assert_int_equal(vio_drv_fs_end(f, SECOND), 0);
    assert_false(t->began);
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EINVAL);
    script_free(s);
    tree_free(t);
}

static void test_files(void **state)
{
    (void)state;
    check_files(0);
    check_files(EVENT_IDX);
    check_files(PACKED | EVENT_IDX);
    check_files(PACKED | VIO_FEATURE(VIRTIO_F_IN_ORDER));
}

static void test_names(void **state)
{
    struct tree_server *t = tree_new();
    struct script *s = start(t, 0);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    struct vio_drv_fs_entry e;
    char name[300];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[256] = 0;
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, name, &e, SECOND), -ENAMETOOLONG);
    assert_int_equal(vio_drv_fs_walk(f, name, &e, SECOND), -ENAMETOOLONG);
    name[255] = 0;
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, name, &e, SECOND), -ENOENT);
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "", &e, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "a/b", &e, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_unlink(f, ROOT, "../a", SECOND), -EINVAL);
    assert_int_equal(t->calls[FUSE_LOOKUP], 1);
    assert_int_equal(t->calls[FUSE_UNLINK], 0);
    script_free(s);
    tree_free(t);
}

/* ---------------------------------------------------------------- listings */

struct listing {
    unsigned n, directories;
    char last[256];
};

static void on_entry(void *ctx, const struct vio_drv_fs_dirent *entry)
{
    struct listing *l = ctx;

    l->n++;
    l->directories += entry->type == 4;
    strcpy(l->last, entry->name);
    assert_int_equal(strlen(entry->name), entry->len);
}

static void test_listing(void **state)
{
    struct tree_server *t = tree_new();
    struct script *s = start(t, 0);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    struct listing l = { .n = 0 };
    struct vio_drv_fs_entry e;
    struct vio_drv_fs_entry in;
    uint64_t handle, offset = 0, file;
    static uint8_t bytes[4096];
    int n, rounds = 0;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        char name[32];

        snprintf(name, sizeof(name), "name-%u", i * i * i);
        if (i % 2 == 0) {
            assert_int_equal(vio_drv_fs_mkdir(f, ROOT, name, 0755, &e, SECOND), 0);
        } else {
            assert_int_equal(vio_drv_fs_create(f, ROOT, name, VIO_DRV_FS_WRITE, 0644, &e, &file, SECOND), 0);
        }
    }
    assert_int_equal(vio_drv_fs_opendir(f, e.node, &handle, SECOND), -ENOTDIR);
    assert_int_equal(vio_drv_fs_opendir(f, ROOT, &handle, SECOND), 0);
    t->listing_max = 200; /* a few at a time */
    while ((n = vio_drv_fs_readdir(f, ROOT, handle, &offset, on_entry, &l, SECOND)) > 0)
        rounds++;
    assert_int_equal(n, 0);
    assert_true(rounds > 5);
    assert_int_equal(l.n, 50);
    assert_int_equal(l.directories, 25);
    assert_string_equal(l.last, "name-117649");
    /* Names that cannot be; a listing that does not move; one that ends within an entry. */
    t->name_byte = '/';
    offset = 0;
    assert_int_equal(vio_drv_fs_readdir(f, ROOT, handle, &offset, on_entry, &l, SECOND), -EPROTO);
    assert_int_equal(offset, 0);
    t->name_byte = 1; /* stands for 0 */
    assert_int_equal(vio_drv_fs_readdir(f, ROOT, handle, &offset, on_entry, &l, SECOND), -EPROTO);
    t->name_byte = 0;
    for (unsigned i = 0; i < 5; i++) {
        static const uint32_t lens[] = { 256, 255, 10000, UINT32_MAX, UINT32_MAX - 23 };

        t->name_len = lens[i];
        t->listing_max = 40;
        assert_int_equal(vio_drv_fs_readdir(f, ROOT, handle, &offset, on_entry, &l, SECOND), -EPROTO);
    }
    t->name_len = 0;
    t->listing_max = 0;
    t->stuck = true;
    assert_int_equal(vio_drv_fs_readdir(f, ROOT, handle, &offset, on_entry, &l, SECOND), -EPROTO);
    t->stuck = false;
    assert_int_equal(vio_drv_fs_releasedir(f, ROOT, handle, SECOND), 0);
    /* A name that goes on behind what came, where an earlier answer has left bytes that would do. */
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(vio_drv_fs_mkdir(f, ROOT, "one", 0755, &e, SECOND), 0);
    assert_int_equal(vio_drv_fs_create(f, e.node, "sixteen-letters-", VIO_DRV_FS_READ_WRITE, 0644, &in, &file, SECOND), 0);
    assert_int_equal(vio_drv_fs_write(f, in.node, file, 0, bytes, sizeof(bytes), SECOND), sizeof(bytes));
    assert_int_equal(vio_drv_fs_opendir(f, e.node, &handle, SECOND), 0);
    assert_int_equal(vio_drv_fs_readdir(f, e.node, handle, &offset, on_entry, &l, SECOND), 1);
    assert_int_equal(vio_drv_fs_read(f, in.node, file, 0, bytes, sizeof(bytes), SECOND), sizeof(bytes));
    t->name_len = 30;
    offset = 0;
    assert_int_equal(vio_drv_fs_readdir(f, e.node, handle, &offset, on_entry, &l, SECOND), -EPROTO);
    script_free(s);
    tree_free(t);
}

/* ---------------------------------------------------------------- the window */

static struct tree_server *window_of;

static int shm(struct vio_transport *t, uint8_t id, struct vio_transport_shm *region)
{
    (void)t;
    if (id != 0)
        return -ENOENT;
    *region = (struct vio_transport_shm){ window_of->window, TREE_WINDOW };
    return 0;
}

static void test_window(void **state)
{
    struct tree_server *t = tree_new();
    struct script *s = start(t, 0);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    struct vio_drv_fs_entry e;
    uint64_t handle, len;
    uint8_t *window;

    (void)state;
    assert_null(vio_drv_fs_window(f, &len));
    assert_int_equal(vio_drv_fs_map(f, ROOT, 1, 0, TREE_PAGE, 0, false, SECOND), -ENOTSUP);
    /* The same device through a transport that has the region. */
    window_of = t;
    t->window = calloc(1, TREE_WINDOW);
    s->f->ops.shm = shm;
    t->alignment = 13;
    assert_int_equal(vio_drvdev_recover(s->d), 0);
    f = vio_drv_fs_of(s->d);
    assert_int_equal(vio_drv_fs_start(f, SECOND), 0);
    window = vio_drv_fs_window(f, &len);
    assert_ptr_equal(window, t->window);
    assert_int_equal(len, TREE_WINDOW);
    assert_int_equal(vio_drv_fs_create(f, ROOT, "m", VIO_DRV_FS_READ_WRITE, 0644, &e, &handle, SECOND), 0);
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 8192, "mapped", 6, SECOND), 6);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 8192, 8192, 16384, true, SECOND), 0);
    assert_memory_equal(window + 16384, "mapped", 6);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 4096, 8192, 16384, true, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 8192, 8192, 4096, true, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 8192, 0, 8192, true, SECOND), -EINVAL);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 0, 8192, TREE_WINDOW, true, SECOND), -ERANGE);
    assert_int_equal(vio_drv_fs_map(f, e.node, handle, 0, UINT64_MAX - 8191, 8192, true, SECOND), -ERANGE);
    assert_int_equal(vio_drv_fs_unmap(f, e.node, 16384, 8192, SECOND), 0);
    assert_int_equal(vio_drv_fs_unmap(f, e.node, TREE_WINDOW, 8192, SECOND), -ERANGE);
    script_free(s);
    tree_free(t);
}

/* ---------------------------------------------------------------- lies */

static void test_lies(void **state)
{
    struct tree_server *t = tree_new();
    struct script *s = start(t, 0);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    struct vio_drv_fs_attr attr;
    struct vio_drv_fs_entry e;
    uint64_t handle;
    uint8_t bytes[100];

    (void)state;
    assert_int_equal(vio_drv_fs_create(f, ROOT, "f", VIO_DRV_FS_READ_WRITE, 0644, &e, &handle, SECOND), 0);
    t->unique_more = 1;
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EPROTO);
    t->unique_more = 0;
    for (unsigned i = 0; i < 4; i++) {
        static const int32_t errors[] = { 1, INT32_MAX, INT32_MIN, -4096 };

        t->error = errors[i];
        assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EPROTO);
    }
    t->error = -4095;
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -4095);
    t->error = 0;
    for (t->cut = 1; t->cut < 16 + sizeof(struct fuse_attr_out); t->cut++)
        assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EPROTO);
    t->cut = 0;
    for (unsigned i = 0; i < 5; i++) {
        static const int32_t more[] = { 1, -1, -100, -120, INT32_MAX }; /* more than came, or less than it takes */

        t->len_more = more[i];
        assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EPROTO);
    }
    t->len_more = 0;
    t->node_zero = true;
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "f", &e, SECOND), -ENOENT);
    t->node_zero = false;
    assert_int_equal(vio_drv_fs_lookup(f, ROOT, "f", &e, SECOND), 0);
    t->took_more = 1;
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 0, "abc", 3, SECOND), -EPROTO);
    t->took_more = (uint32_t)-1; /* it took less than all */
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 0, "abc", 3, SECOND), 2);
    t->took_more = 0;
    /* A length in the header that is less than what came: the rest is not data. */
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 0, "0123456789", 10, SECOND), 10);
    t->len_more = -4;
    assert_int_equal(vio_drv_fs_read(f, e.node, handle, 0, bytes, 10, SECOND), 6);
    t->len_more = 0;
    /* Late: nothing more until it is back, and what was to be written stays where it is. */
    s->hold[1] = true;
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_fs_write(f, e.node, handle, 0, "x", 1, SECOND), -EBUSY);
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EBUSY);
    s->hold[1] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), 0);
    s->hold[0] = true;
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(vio_drv_fs_forget(f, 2, 0, SECOND), 0);
    assert_int_equal(vio_drv_fs_forget(f, 2, 0, SECOND), -ETIMEDOUT);
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), 0); /* queues do not wait for each other */
    fake_used(s->f, 0, 0, 99, 0);
    assert_int_equal(vio_drv_fs_forget(f, 2, 0, SECOND), -EIO);
    assert_int_equal(vio_drv_fs_getattr(f, ROOT, &attr, SECOND), -EIO);
    script_free(s);
    tree_free(t);
}

/* What was to be forgotten is, before the session ends: the queues do not wait for each other by themselves. */
static void test_end(void **state)
{
    struct tree_server *t = tree_new();
    struct script *s = start(t, 0);
    struct vio_drv_fs *f = vio_drv_fs_of(s->d);
    struct vio_drv_fs_stat stat;

    (void)state;
    s->hold[0] = true;
    assert_int_equal(vio_drv_fs_forget(f, 2, 0, SECOND), 0);
    assert_int_equal(vio_drv_fs_end(f, SECOND), -ETIMEDOUT);
    assert_int_equal(t->calls[FUSE_DESTROY], 0);
    s->hold[0] = false;
    fake_serve(s->f);
    assert_int_equal(vio_drv_fs_end(f, SECOND), 0);
    assert_int_equal(t->calls[FUSE_DESTROY], 1);
    assert_int_equal(vio_drv_fs_start(f, SECOND), 0);
    t->silent = true; /* as the virtiofsd in Rust does at the end */
    assert_int_equal(vio_drv_fs_statfs(f, &stat, SECOND), -EPROTO);
    assert_int_equal(vio_drv_fs_end(f, SECOND), 0);
    script_free(s);
    tree_free(t);
}

static void test_session(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct tree_server *t = tree_new();
        struct script *s = prepare(t, 0);

        t->major = i == 0 ? 8 : i == 1 ? 6 : 0;
        t->minor = i == 2 ? 11 : 0;
        t->max_write = i == 3 ? 4095 : 0;
        t->alignment = i == 4 ? 31 : 0;
        t->cut = i == 5 ? 16 + FUSE_COMPAT_INIT_OUT_SIZE - 1 : 0;
        assert_int_equal(vio_drv_fs_start(vio_drv_fs_of(s->d), SECOND), -EPROTO);
        script_free(s);
        tree_free(t);
    }
}

static void test_config(void **state)
{
    struct virtio_fs_config config = { .num_request_queues = vio_le32_of(0) };
    struct tree_server *t = tree_new();
    struct script *s = script_new();
    char tag[VIO_DRV_FS_TAG];

    (void)state;
    script_start(s, 2, 0, &config, sizeof(config), &vio_driver_fs);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_FAILED);
    assert_non_null(strstr(vio_drvdev_why(s->d), "num_request_queues is 0"));
    script_free(s);
    s = script_new();
    s->serve = tree_serve;
    s->ctx = t;
    memset(config.tag, 'T', sizeof(config.tag)); /* full: no 0 behind it */
    config.num_request_queues = vio_le32_of(UINT32_MAX);
    script_start(s, 2, 0, &config, sizeof(config), &vio_driver_fs);
    assert_int_equal(vio_drvdev_status(s->d), VIO_DRVDEV_RUNS);
    vio_drv_fs_tag(vio_drv_fs_of(s->d), tag);
    assert_int_equal(strlen(tag), 36);
    script_free(s);
    tree_free(t);
}

static void test_memory(void **state)
{
    struct tree_server *t = tree_new();
    unsigned fail = 1;

    (void)state;
    for (bool ran = false; !ran; fail++) {
        struct script *s = prepare(t, 0);

        s->f->fail_allocation = fail;
        ran = vio_drvdev_recover(s->d) == 0;
        assert_true(ran || vio_drvdev_why(s->d)[0] != 0);
        script_free(s);
    }
    assert_true(fail > 10);
    tree_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_names), cmocka_unit_test(test_listing),
        cmocka_unit_test(test_window), cmocka_unit_test(test_lies), cmocka_unit_test(test_end), cmocka_unit_test(test_session),
        cmocka_unit_test(test_config), cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
