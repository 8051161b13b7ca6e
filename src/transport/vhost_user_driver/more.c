/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what only vhost-user has: more memory, the dirty log, the device's state for another back-end.
 * Where it sits: transport/vhost_user_driver. Threads: the control thread.
 * Trust: a saved state is the device's: bounded in bytes and in time, and never looked into.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "transport/vhost_user_driver/internal.h"

enum { STATE_BYTES_MAX = 64 << 20, LOG_PAGE = 4096 };

/* ------------------------------------------------------------------ memory */

static bool overlaps(struct vio_arena_region a, struct vio_arena_region b)
{
    return a.addr < b.addr + b.size && b.addr < a.addr + a.size;
}

int vio_vud_memory_add(struct vio_transport *t, struct vio_arena *arena)
{
    struct vio_vud *v = vud_of(t);
    int error = 0;

    if (vio_arena_region(arena).physical)
        return vud_fail(v, -EINVAL, "memory by physical addresses cannot be shared with a process");
    if (v->nr_arenas == VIO_VUD_ARENAS_MAX || (v->shared && v->nr_arenas >= v->slots_max))
        return vud_fail(v, -ENOSPC, "%u regions of memory are there already", v->nr_arenas);
    for (unsigned i = 0; i < v->nr_arenas; i++)
        if (overlaps(vio_arena_region(v->arena[i]), vio_arena_region(arena)))
            return vud_fail(v, -EEXIST, "region %u of memory is at these addresses", i);
    if (v->shared && !vud_has(v, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
        return vud_fail(v, -ENOTSUP, "the device takes no more memory while it runs (no CONFIGURE_MEM_SLOTS)");
    if (v->shared)
        error = vud_send_region(v, VHOST_USER_ADD_MEM_REG, arena);
    if (error == 0)
        v->arena[v->nr_arenas++] = arena;
    return error;
}

int vio_vud_memory_remove(struct vio_transport *t, struct vio_arena *arena)
{
    struct vio_vud *v = vud_of(t);
    unsigned i = 0;
    int error = 0;

    while (i < v->nr_arenas && v->arena[i] != arena)
        i++;
    if (i == v->nr_arenas)
        return vud_fail(v, -ENOENT, "this memory is not shared with the device");
    if (i == 0)
        return vud_fail(v, -EBUSY, "the queues are in this memory");
    if (v->shared && !vud_has(v, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
        return vud_fail(v, -ENOTSUP, "the device gives no memory back while it runs (no CONFIGURE_MEM_SLOTS)");
    if (v->shared)
        error = vud_send_region(v, VHOST_USER_REM_MEM_REG, arena);
    if (error == 0)
        v->arena[i] = v->arena[--v->nr_arenas];
    return error;
}

/* ------------------------------------------------------------------ the dirty log */

void vud_log_forget(struct vio_vud *v)
{
    if (v->log_map.bits != NULL)
        munmap(v->log_map.bits, v->log_map.bytes);
    if (v->log_fd >= 0)
        close(v->log_fd);
    v->log_map = (struct vio_vud_log){ .bits = NULL };
    v->log_fd = -1;
}

static int make_log(struct vio_vud *v)
{
    uint64_t top = 0, bytes;
    void *bits;

    for (unsigned i = 0; i < v->nr_arenas; i++) {
        struct vio_arena_region r = vio_arena_region(v->arena[i]);

        top = r.addr + r.size > top ? r.addr + r.size : top;
    }
    bytes = (top / LOG_PAGE / 8 + LOG_PAGE) & ~(uint64_t)(LOG_PAGE - 1);
    v->log_fd = memfd_create("vio-log", MFD_CLOEXEC);
    if (v->log_fd < 0 || ftruncate(v->log_fd, (off_t)bytes) < 0)
        return -errno;
    bits = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->log_fd, 0);
    if (bits == MAP_FAILED)
        return -errno;
    v->log_map = (struct vio_vud_log){ .bits = bits, .bytes = bytes };
    return 0;
}

/* The device is told where the log is; features and the rings' addresses say that it is on. */
static int send_log(struct vio_vud *v)
{
    struct vhost_user_log where = { .size = v->log_map.bytes };
    struct vud_msg msg = { .request = VHOST_USER_SET_LOG_BASE, .payload = &where, .size = sizeof(where), .fds = &v->log_fd,
                           .nr_fds = 1 };
    uint64_t reply[2]; /* its contents differ between devices, and mean nothing */
    uint32_t got;

    return vud_ask(v, &msg, reply, sizeof(reply), &got, NULL);
}

static int address_all(struct vio_vud *v)
{
    int error = 0;

    for (uint16_t i = 0; error == 0 && i < VIO_VUD_QUEUES_MAX; i++)
        if (v->queue[i].started)
            error = vud_address_queue(v, i);
    return error;
}

int vio_vud_log_start(struct vio_transport *t, struct vio_vud_log *log)
{
    struct vio_vud *v = vud_of(t);
    int error = 0;

    if (!v->has_log || !vud_has(v, VHOST_USER_PROTOCOL_F_LOG_SHMFD))
        return vud_fail(v, -ENOTSUP, "the device keeps no log of what it writes (no LOG_SHMFD, or no F_LOG_ALL)");
    if (v->log_fd >= 0)
        return vud_fail(v, -EBUSY, "the log is on already");
    error = make_log(v);
    if (error != 0)
        (void)vud_fail(v, error, "no memory for the log: %s", strerror(-error));
    if (error == 0)
        error = send_log(v);
    if (error == 0)
        error = vud_set_features(v);
    if (error == 0)
        error = address_all(v);
    if (error != 0) {
        vud_log_forget(v);
        return error;
    }
    *log = v->log_map;
    return 0;
}

int vio_vud_log_stop(struct vio_transport *t)
{
    struct vio_vud *v = vud_of(t);
    int error;

    if (v->log_fd < 0)
        return 0;
    vud_log_forget(v);
    error = vud_set_features(v);
    return error != 0 ? error : address_all(v);
}

int vud_log_again(struct vio_vud *v)
{
    if (v->log_fd < 0)
        return 0;
    if (!v->has_log || !vud_has(v, VHOST_USER_PROTOCOL_F_LOG_SHMFD))
        return vud_fail(v, -EPROTO, "the device that came back keeps no log of what it writes");
    return send_log(v);
}

/* ------------------------------------------------------------------ the device's state */

/* Tells the device which way, and gives it its end of the pipe; ours is *fd. */
static int open_transfer(struct vio_vud *v, uint32_t direction, int *fd)
{
    struct vhost_user_state_transfer transfer = { direction, VHOST_USER_STATE_STOPPED };
    bool save = direction == VHOST_USER_STATE_SAVE;
    struct vud_msg msg = { .request = VHOST_USER_SET_DEVICE_STATE_FD, .payload = &transfer, .size = sizeof(transfer),
                           .nr_fds = 1 };
    int ends[2], own = -1, error;
    uint64_t answer = 0;
    uint32_t got = 0;

    if (!vud_has(v, VHOST_USER_PROTOCOL_F_DEVICE_STATE))
        return vud_fail(v, -ENOTSUP, "the device does not give its state away (no DEVICE_STATE)");
    if (pipe2(ends, O_CLOEXEC) < 0)
        return vud_fail(v, -errno, "pipe: %s", strerror(errno));
    msg.fds = &ends[save ? 1 : 0];
    error = vud_ask(v, &msg, &answer, sizeof(answer), &got, &own);
    close(ends[save ? 1 : 0]);
    *fd = ends[save ? 0 : 1];
    if (error == 0 && (got != sizeof(answer) || (answer & 0xff) != 0))
        error = vud_fail(v, -EPROTO, "SET_DEVICE_STATE_FD: the device refused it (its log may say why)");
    if (error == 0 && (answer & VHOST_USER_VRING_NOFD) == 0 && own >= 0) {
        close(*fd); /* it has a better way, and this is our end of it */
        *fd = own;
    } else if (own >= 0) {
        close(own);
    }
    if (error == 0 && fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
        error = vud_fail(v, -errno, "fcntl: %s", strerror(errno));
    if (error != 0)
        close(*fd);
    return error;
}

/* 0: the device can be asked whether all went well. */
static int check_transfer(struct vio_vud *v)
{
    uint64_t answer;
    int error = vud_ask_u64(v, VHOST_USER_CHECK_DEVICE_STATE, &answer);

    if (error == 0 && answer != 0)
        error = vud_fail(v, -EPROTO, "CHECK_DEVICE_STATE: the transfer failed (the device's log may say why)");
    return error;
}

static int wait_pipe(struct vio_vud *v, int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };
    int n = poll(&p, 1, (int)v->timeout_ms);

    if (n == 0)
        return vud_fail(v, -ETIMEDOUT, "the device's state stands still in its pipe");
    return n < 0 && errno != EINTR ? -errno : 0;
}

static int read_all(struct vio_vud *v, int fd, uint8_t **bytes, size_t *size)
{
    size_t room = 65536, have = 0;
    uint8_t *at = malloc(room);
    int error = at == NULL ? -ENOMEM : 0;

    while (error == 0) {
        ssize_t n = read(fd, at + have, room - have);

        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            error = errno == EAGAIN ? wait_pipe(v, fd, POLLIN) : -errno;
        have += n > 0 ? (size_t)n : 0;
        if (have == room && error == 0) {
            uint8_t *more = room < STATE_BYTES_MAX ? realloc(at, room * 2) : NULL;

            if (more == NULL)
                error = vud_fail(v, -EFBIG, "the device's state does not end after %zu bytes", have);
            at = more != NULL ? more : at;
            room *= 2;
        }
    }
    if (error != 0) {
        free(at);
        return error;
    }
    *bytes = at;
    *size = have;
    return 0;
}

int vio_vud_state_save(struct vio_transport *t, uint8_t **bytes, size_t *size)
{
    struct vio_vud *v = vud_of(t);
    int fd, error = vud_stop_all(v);

    if (error == 0)
        error = open_transfer(v, VHOST_USER_STATE_SAVE, &fd);
    if (error != 0)
        return error;
    error = read_all(v, fd, bytes, size);
    close(fd);
    if (error != 0)
        return error;
    error = check_transfer(v);
    if (error != 0) {
        free(*bytes);
        *bytes = NULL;
    }
    return error;
}

int vio_vud_state_load(struct vio_transport *t, const uint8_t *bytes, size_t size)
{
    struct vio_vud *v = vud_of(t);
    uint8_t *copy = malloc(size + 1);

    if (copy == NULL)
        return vud_fail(v, -ENOMEM, "no memory for a state of %zu bytes", size);
    memcpy(copy, bytes, size);
    free(v->state);
    v->state = copy;
    v->state_size = size;
    return 0;
}

int vud_state_give(struct vio_vud *v)
{
    size_t at = 0;
    int fd, error;

    if (v->state == NULL)
        return 0;
    error = open_transfer(v, VHOST_USER_STATE_LOAD, &fd);
    if (error != 0)
        return error;
    while (error == 0 && at < v->state_size) {
        ssize_t n = write(fd, v->state + at, v->state_size - at);

        if (n < 0 && errno != EINTR)
            error = errno == EAGAIN ? wait_pipe(v, fd, POLLOUT) : vud_fail(v, -errno, "the device's state: %s", strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (error == 0)
        error = check_transfer(v);
    if (error == 0) {
        free(v->state);
        v->state = NULL;
    }
    return error;
}
