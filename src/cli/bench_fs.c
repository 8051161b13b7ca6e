/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the load of a file system: small files made, written, looked at, read and removed one after the other, or one large file
 * written or read as a stream; in a directory of its own, which is removed again. Where it sits: cli/, over vio/drv_fs.h.
 * Threads: the driver has one owner: the one worker while it runs, the caller's before and after. Trust: what is read is held
 * against what was written, where that is asked for; in small files always.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/drv_fs.h>

#include "cli/bench.h"
#include "cli/pattern.h"
#include "spec/virtio.h"

enum { MEMORY = 4 << 20, NAME = 64 };

enum op { OP_CREATE, OP_WRITE, OP_STAT, OP_READ, OP_CLOSE, OP_REMOVE, OPS };
static const char *const op_names[OPS] = { "create", "write", "stat", "read", "close", "remove" };

struct run {
    struct bench_worker head;
    const struct bench_params *p;
    struct bench_device device;
    struct vio_drv_fs_driver driver;
    struct vio_drv_fs *fs;
    uint64_t ns;                 /* of each answer */
    uint64_t parent;             /* where the directory is */
    struct vio_drv_fs_entry directory, file;
    char directory_name[NAME], file_name[NAME];
    bool started, made, exists;  /* the session; the directory; the file */
    uint64_t handle;
    uint8_t *data;
    uint64_t files;              /* so far */
    uint64_t blocks, next, pass; /* of the stream: in the file, to come, how often it began */
    struct histogram latency[OPS];
    uint64_t count, bytes, wrong; /* count, bytes: while it was measured */
    char *why;
    int error;
};

/* The first is said. */
static int failed(struct run *r, int error, const char *what)
{
    if (r->error != 0)
        return r->error;
    r->error = error;
    if (error == -ETIMEDOUT)
        snprintf(r->why, BENCH_WHY, "%s: %s was not answered for %u ms", r->p->target, what, r->p->timeout_ms);
    else if (error == -EPROTO)
        snprintf(r->why, BENCH_WHY, "%s: %s was answered with what cannot be", r->p->target, what);
    else
        snprintf(r->why, BENCH_WHY, "%s: %s: %s", r->p->target, what, strerror(-error));
    return error;
}

/* An operation that began then is over. result: 0, a count that is wanted, or -errno. */
static bool done(struct run *r, enum op op, uint64_t began, int result, uint32_t wanted)
{
    if (result < 0) {
        failed(r, result, op_names[op]);
        return false;
    }
    if ((uint32_t)result != wanted) {
        snprintf(r->why, BENCH_WHY, "%s: %s of %u bytes did %d", r->p->target, op_names[op], wanted, result);
        r->error = -EIO;
        return false;
    }
    if (r->head.phase == BENCH_MEASURE) {
        histogram_add(&r->latency[op], bench_now() - began);
        r->count++;
        r->bytes += wanted;
        atomic_fetch_add_explicit(&r->head.done, 1, memory_order_relaxed);
    }
    return true;
}

/* ------------------------------------------------------------------ operations */

static bool create(struct run *r)
{
    uint64_t began = bench_now();

    snprintf(r->file_name, sizeof(r->file_name), "file-%llu", (unsigned long long)r->files++);
    r->exists = done(r, OP_CREATE, began,
                     vio_drv_fs_create(r->fs, r->directory.node, r->file_name, VIO_DRV_FS_READ_WRITE | VIO_DRV_FS_EXCLUSIVE, 0600,
                                       &r->file, &r->handle, r->ns), 0);
    return r->exists;
}

static bool write_at(struct run *r, uint64_t offset)
{
    uint64_t began = bench_now();

    return done(r, OP_WRITE, began, vio_drv_fs_write(r->fs, r->file.node, r->handle, offset, r->data, r->p->block, r->ns),
                r->p->block);
}

static bool read_at(struct run *r, uint64_t offset)
{
    uint64_t began = bench_now();

    return done(r, OP_READ, began, vio_drv_fs_read(r->fs, r->file.node, r->handle, offset, r->data, r->p->block, r->ns),
                r->p->block);
}

static bool stat_file(struct run *r, uint64_t size)
{
    struct vio_drv_fs_attr attr = { 0 };
    uint64_t began = bench_now();

    if (!done(r, OP_STAT, began, vio_drv_fs_getattr(r->fs, r->file.node, &attr, r->ns), 0))
        return false;
    r->wrong += attr.size != size;
    return true;
}

static bool close_file(struct run *r)
{
    uint64_t began = bench_now();

    return done(r, OP_CLOSE, began, vio_drv_fs_release(r->fs, r->file.node, r->handle, r->ns), 0);
}

static bool remove_file(struct run *r)
{
    uint64_t began = bench_now();

    r->exists = false; /* or it cannot be removed */
    return done(r, OP_REMOVE, began, vio_drv_fs_unlink(r->fs, r->directory.node, r->file_name, r->ns), 0) &&
           vio_drv_fs_forget(r->fs, r->file.node, 1, r->ns) == 0;
}

static uint64_t word_of(const struct run *r, uint64_t block, uint64_t generation)
{
    return bench_mix(r->p->seed, block, generation);
}

/* One small file, from its making to its end. */
static bool small_file(struct run *r)
{
    uint64_t word = word_of(r, r->files, 0);

    pattern_fill(r->data, r->p->block, word);
    if (!create(r) || !write_at(r, 0) || !stat_file(r, r->p->block))
        return false;
    memset(r->data, 0, r->p->block);
    if (!read_at(r, 0))
        return false;
    r->wrong += !pattern_is(r->data, r->p->block, word);
    return close_file(r) && remove_file(r);
}

/* The next block of the file, which begins again at its end. */
static bool stream(struct run *r)
{
    uint64_t block = r->next;
    bool out = r->p->mode == BENCH_OUT;

    r->next = block + 1 < r->blocks ? block + 1 : 0;
    if (out) {
        if (r->p->verify)
            pattern_fill(r->data, r->p->block, word_of(r, block, r->pass));
        r->pass += r->next == 0;
        return write_at(r, block * r->p->block);
    }
    if (!read_at(r, block * r->p->block))
        return false;
    r->wrong += r->p->verify && !pattern_is(r->data, r->p->block, word_of(r, block, 0));
    return true;
}

static void work(struct bench_worker *head)
{
    struct run *r = (struct run *)head;
    bool (*turn)(struct run *) = r->p->mode == BENCH_OPS ? small_file : stream;

    while (bench_phase(head) != BENCH_STOP && turn(r))
        ;
}

/* ------------------------------------------------------------------ before and after */

static int open_fs(struct run *r)
{
    const struct bench_params *p = r->p;
    bool vhost_user;
    int error = bench_connect(&r->device, p, VIRTIO_ID_FS, MEMORY, r->why);

    if (error)
        return error;
    vhost_user = r->device.target.kind == TARGET_VHOST_USER; /* the configuration is its front-end's then */
    vio_drv_fs_driver(&r->driver, &(struct vio_drv_fs_params){ .tag = vhost_user ? "bench" : NULL });
    error = bench_drive(&r->device, p, VIRTIO_ID_FS, &r->driver.driver, r->why);
    if (error)
        return error;
    r->fs = vio_drv_fs_of(r->device.d);
    error = vio_drv_fs_start(r->fs, r->ns);
    r->started = error == 0;
    return error ? failed(r, error, "the session (FUSE_INIT)") : 0;
}

static int make_directory(struct run *r)
{
    struct vio_drv_fs_entry parent;
    int error = vio_drv_fs_walk(r->fs, r->p->directory, &parent, r->ns);

    if (error)
        return failed(r, error, r->p->directory[0] != '\0' ? r->p->directory : "the root");
    r->parent = parent.node;
    snprintf(r->directory_name, sizeof(r->directory_name), "vio-bench-%ld-%llx", (long)getpid(),
             (unsigned long long)bench_now());
    error = vio_drv_fs_mkdir(r->fs, r->parent, r->directory_name, 0700, &r->directory, r->ns);
    r->made = error == 0;
    return error ? failed(r, error, "making a directory") : 0;
}

/* The file of a stream; one to be read is written first. */
static int make_file(struct run *r)
{
    const struct bench_params *p = r->p;

    r->blocks = p->size / p->block;
    if (!create(r))
        return r->error;
    for (uint64_t i = 0; p->mode == BENCH_IN && i < r->blocks; i++) {
        pattern_fill(r->data, p->block, word_of(r, i, 0));
        if (!write_at(r, i * p->block))
            return r->error;
    }
    return 0;
}

/* What a stream wrote, block by block: those before `next` in this pass, the others in the one before. */
static void check_file(struct run *r)
{
    uint64_t written = r->pass > 0 ? r->blocks : r->next;

    for (uint64_t i = 0; i < written && r->error == 0; i++)
        if (read_at(r, i * r->p->block))
            r->wrong += !pattern_is(r->data, r->p->block, word_of(r, i, i < r->next ? r->pass : r->pass - 1));
}

/* As far as it goes: what went wrong before is what is said. */
static void clean_up(struct run *r)
{
    if (r->exists)
        (void)(r->p->mode == BENCH_OPS || close_file(r));
    if (r->exists)
        (void)remove_file(r);
    if (r->made && vio_drv_fs_rmdir(r->fs, r->parent, r->directory_name, r->ns) != 0)
        failed(r, -EIO, "removing the directory");
    if (r->made)
        (void)!vio_drv_fs_forget(r->fs, r->directory.node, 1, r->ns);
    if (r->parent > VIO_DRV_FS_ROOT)
        (void)!vio_drv_fs_forget(r->fs, r->parent, 1, r->ns);
    if (r->started)
        (void)!vio_drv_fs_end(r->fs, r->ns);
    bench_disconnect(&r->device);
    target_free_memory(&r->device.target);
    free(r->data);
}

static json_t *result_json(struct run *r, const struct bench_load *load)
{
    const struct bench_params *p = r->p;
    double seconds = (double)load->elapsed / 1e9, per = r->count > 0 ? 1.0 / (double)r->count : 0;
    char tag[VIO_DRV_FS_TAG] = "";
    json_t *ops = json_object(), *result;

    for (unsigned i = 0; i < OPS; i++)
        if (r->latency[i].count > 0)
            json_object_set_new(ops, op_names[i], bench_latency_json(&r->latency[i]));
    vio_drv_fs_tag(r->fs, tag);
    result = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:s, s:b, s:f, s:I, s:f, s:f, s:f, s:o, s:I, s:o}", "target", p->target,
                       "type", "fs", "tag", tag, "mode", bench_mode_name(p->mode), "block", (int)p->block, "size",
                       (json_int_t)(p->mode == BENCH_OPS ? p->block : r->blocks * p->block), "ring",
                       vio_drvdev_has(r->device.d, VIRTIO_F_RING_PACKED) ? "packed" : "split", "verified",
                       p->verify || p->mode == BENCH_OPS, "seconds", seconds, "requests", (json_int_t)r->count, "rate",
                       (double)r->count / seconds, "bytes_per_second", (double)r->bytes / seconds, "cpu_ns_per_request",
                       (double)r->head.cpu_ns * per, "peer_cpu_ns_per_request",
                       bench_peer_json(&r->device, load->peer_cpu, r->count), "wrong_blocks", (json_int_t)r->wrong,
                       "operations", ops);
    return result;
}

static json_t *measure(struct run *r)
{
    const struct bench_params *p = r->p;
    struct bench_load load = { .p = p, .work = work, .unit = "operations", .warmup = p->warmup, .seconds = p->seconds,
                               .workers = 1, .socket = target_socket(&r->device.target) };

    r->head.phase = BENCH_WARM;
    if (p->mode != BENCH_OPS && make_file(r) != 0)
        return NULL;
    r->error = bench_load(&load, &r->head, sizeof(*r), r->why) != 0 ? -EIO : r->error;
    r->head.phase = BENCH_STOP;
    if (r->error == 0 && p->mode == BENCH_OUT && p->verify)
        check_file(r);
    if (r->error == 0 && r->count == 0) {
        snprintf(r->why, BENCH_WHY, "%s: nothing was done in %g s", p->target, p->seconds);
        r->error = -EIO;
    }
    return r->error == 0 ? result_json(r, &load) : NULL;
}

json_t *bench_fs(const struct bench_params *params, char *why)
{
    struct run *r = calloc(1, sizeof(*r));
    json_t *result = NULL;

    if (r != NULL) {
        *r = (struct run){ .p = params, .why = why, .ns = (uint64_t)params->timeout_ms * 1000000, .data = malloc(params->block) };
        for (unsigned i = 0; i < OPS; i++)
            histogram_reset(&r->latency[i]);
    }
    if (r == NULL || r->data == NULL) {
        snprintf(why, BENCH_WHY, "%s: no memory", params->target);
        free(r);
        return NULL;
    }
    if (open_fs(r) == 0 && make_directory(r) == 0)
        result = measure(r);
    clean_up(r);
    if (r->error != 0) {
        json_decref(result);
        result = NULL;
    }
    free(r);
    return result;
}
