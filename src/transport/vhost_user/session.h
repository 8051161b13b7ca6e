/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what the files of the vhost-user device side share: one connected front-end (struct vu_session) and the
 * socket it came through (struct vio_vu). Where it sits: transport/vhost_user, private.
 * Threads: the control thread; of a queue, call_fd, call_on and kick_fd are read by its owner.
 * Trust: the front-end is hostile. Handlers get messages whose length, descriptors and state were checked.
 */
#ifndef VIO_TRANSPORT_VHOST_USER_SESSION_H
#define VIO_TRANSPORT_VHOST_USER_SESSION_H

#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <vio/vhost_user.h>
#include "ring/inflight.h"
#include "spec/vhost_user.h"
#include "transport/vhost_user/codec.h"
#include "transport/vhost_user/table.h"

enum {
    VU_SLOTS = 1024,              /* GET_MAX_MEM_SLOTS: what vio_memory holds */
    VU_GONE = 16,                 /* regions of which a second removal is awaited */
    VU_MESSAGES_A_TURN = 32,      /* then other sockets have their turn */
    VU_STUCK_MS = 10000,          /* half a message, or a reply that is not read, for so long: the session ends */
    VU_STATE_MS = 60000,          /* CHECK_DEVICE_STATE waits so long for the end of the state */
    VU_SILENT_MS = 5000,          /* a peer that we connected to and that says nothing for so long: a hint in the log */
    VU_STATE_BYTES_MAX = 16 << 20, /* a device's state that is loaded */
    VU_LATER = 1,                 /* a handler's answer: it has sent, or will send, the reply itself */
    VU_BROKEN = 2,                /* a handler's answer: understood, but the queue cannot run; said in why */
};

struct vu_vring {
    uint32_t num;              /* 0: not set */
    struct vhost_user_vring_addr addr;
    bool addr_set;
    bool base_set;             /* base is where the queue starts; else a queue of a reset device starts afresh */
    bool base_old;             /* from before a reset: for GET_VRING_BASE only (QEMU 7.2 resets, then asks) */
    uint32_t base;
    bool started;              /* by SET_VRING_KICK, until GET_VRING_BASE */
    bool begun;                /* the core has it: size and position are fixed */
    bool enabled;
    bool lost;                 /* started, but its areas are in no region at the moment */
    atomic_int kick_fd;        /* -1: polled */
    int call_fd;               /* a number that stays: what the front-end sends is put in its place. -1: never had one */
    atomic_bool call_on;
    int err_fd;
    atomic_bool call_inband;   /* a notification is due on the back-end channel */
    bool err_inband;
    bool miss_due;             /* an IOTLB miss is due on the back-end channel */
    struct vhost_user_iotlb miss;
    bool recorded;             /* inflight is in use */
    struct vio_inflight inflight;
};

struct vu_file {
    dev_t dev;
    ino_t ino;
};

/* What SET_MEM_TABLE and ADD_MEM_REG made of a file, to know it again. */
struct vu_region {
    struct vio_memory_region at;
    uint64_t offset;
    struct vu_file file;
    unsigned again; /* how often ADD_MEM_REG came for it once it was there */
};

/* A region that was removed, and that others may remove again: as often as they had added it. */
struct vu_gone_region {
    struct vio_memory_region at;
    unsigned again;
};

struct vu_inflight_region {
    void *base;   /* mapped; NULL: none */
    size_t bytes;
    size_t skip;  /* to the first queue's part */
    uint64_t size;
    uint16_t queues, queue_size;
};

struct vu_state_transfer {
    int fd;        /* -1: no transfer */
    bool load;
    bool done, failed;
    bool check_due; /* CHECK_DEVICE_STATE waits for the end */
    uint8_t *bytes;
    size_t size, at, room;
};

struct vu_session {
    struct vio_vu *vu;
    struct vio_device *dev;
    const struct vio_log *log;
    const char *name;
    struct vio_log_limit *limit;
    char who[96];              /* "pid 12 (qemu-system-x86), uid 0" */
    pid_t pid;
    int fd;
    bool over;                 /* to be ended by the dispatcher */
    bool gone;                 /* over, and nobody did anything wrong */
    bool spoke;
    char why[384];             /* why the last message was refused; why the session is over */

    struct vu_rx rx;
    struct vu_tx tx;
    struct vu_msg msg;

    bool owned, features_set, status_seen;
    uint64_t features;         /* as SET_FEATURES had them, with bits 26 and 30 */
    uint64_t protocol;
    bool protocol_set;
    bool log_on;

    unsigned nr_region;
    struct vu_region region[VU_SLOTS];
    struct vu_gone_region removed[VU_GONE]; /* the last ones, around the end */
    unsigned nr_removed;
    struct vu_file shared_seen; /* the last file that was found to be shared */

    int back_fd;               /* the back-end channel; -1: none */
    struct vu_rx back_rx;
    struct vu_tx back_tx;
    bool config_due;
    int inband_fd;             /* wakes the control thread for notifications in messages; -1: not in use */

    struct vu_inflight_region inflight;
    struct vu_state_transfer state;

    uint64_t stuck_ns;         /* when a half message or an unread reply ends the session; 0: nothing is half */
    uint64_t state_ns;
    uint64_t silent_ns;

    uint16_t queues;
    struct vu_vring vring[];
};

struct vio_vu {
    struct vio_vu_params p;
    struct sockaddr_un address;
    struct vu_file bound;      /* the socket file that we made */
    bool made;
    int listen_fd;             /* -1: none */
    unsigned backoff_ms;
    uint64_t retry_ns;         /* connecting, or listening again, is due; 0: not */
    bool said_waiting;
    uint64_t chat_ns;          /* begin and end of sessions are said so often in a while */
    unsigned chats;
    struct vio_log_limit limit;
    struct vu_session *session;
    char name[96];             /* of the device, for the log */
};

uint64_t vu_now_ns(void);
/* Whether there is room in the log for a front-end that comes or goes. */
bool vu_may_chat(struct vio_vu *vu);
/* Has the embedder call vio_vu_timer() at the next of the times above. */
void vu_arm_timer(struct vio_vu *vu);

/* ---- session.c */

/* fd: a connected socket, taken in any case. */
int vu_session_begin(struct vio_vu *vu, int fd);
void vu_session_end(struct vio_vu *vu);
void vu_session_io(struct vu_session *s);
void vu_session_timer(struct vu_session *s, uint64_t now);
/* The session ends as soon as the dispatcher is back. The reason is said once. */
VIO_PRINTF(2, 3) void vu_over(struct vu_session *s, const char *format, ...);
/* The same where nobody did anything wrong. */
void vu_gone(struct vu_session *s, const char *why);
/* The reason of a refusal; returns err. */
VIO_PRINTF(3, 4) int vu_refuse(struct vu_session *s, int err, const char *format, ...);
/* Something that the front-end did and that is worth a line, but refuses nothing. */
VIO_PRINTF(2, 3) void vu_say(struct vu_session *s, const char *format, ...);
/* The reply to `m`; fd (taken, -1: none) goes with it. */
void vu_reply(struct vu_session *s, const struct vu_msg *m, const void *payload, uint32_t size, int fd);
void vu_reply_u64(struct vu_session *s, const struct vu_msg *m, uint64_t value);
void vu_watch(struct vu_session *s);

static inline bool vu_has(const struct vu_session *s, unsigned protocol_bit)
{
    return (s->protocol >> protocol_bit & 1) != 0;
}

static inline bool vu_has_feature(const struct vu_session *s, unsigned bit)
{
    return s->features_set && (s->features >> bit & 1) != 0;
}

/* Takes the n-th descriptor out of a message: the caller's to close. */
int vu_take_fd(struct vu_msg *m, unsigned n);

/* ---- features.c */
uint64_t vu_offered_protocol(const struct vu_session *s);
/* SET_FEATURES without vhost's own bits. */
struct vio_features vu_device_features(const struct vu_session *s);
/* What the driver would have written to the status field, for front-ends that do not pass it on. */
int vu_infer_status(struct vu_session *s);
/* Stops the queues, keeping their positions for GET_VRING_BASE, and resets the device. */
void vu_reset_device(struct vu_session *s);

/* ---- memory.c */
void vu_memory_end(struct vu_session *s);

/* ---- vring.c */
void vu_vring_init(struct vu_session *s);
void vu_vring_end(struct vu_session *s);
/* 0; VU_BROKEN: the queue cannot run. Does nothing where it may not start yet. */
int vu_vring_start(struct vu_session *s, uint16_t queue);
void vu_vring_start_lost(struct vu_session *s);
/* Stops a running queue and remembers its position. */
void vu_vring_stop(struct vu_session *s, uint16_t queue, bool suspend);
bool vu_any_running(const struct vu_session *s);
/* Stops those queues that lie in [uva, uva + size): the memory goes. */
void vu_vring_lose(struct vu_session *s, uint64_t uva, uint64_t size);
int vu_vring_enable_all(struct vu_session *s);
void vu_inband(struct vu_session *s);

extern const struct vio_device_transport_ops vu_transport_ops;

/* ---- inflight.c */
void vu_inflight_end(struct vu_session *s);
/* Gives the queue its part of the region, where there is one. */
int vu_inflight_give(struct vu_session *s, uint16_t queue);

/* ---- state.c */
void vu_state_io(struct vu_session *s);
void vu_state_end(struct vu_session *s);

/* ---- channel.c */
void vu_channel_io(struct vu_session *s);
void vu_channel_end(struct vu_session *s);
/* Sends what is due. */
void vu_channel_push(struct vu_session *s);

/* ---- handlers, by the file they are in */
int vu_get_features(struct vu_session *s, struct vu_msg *m);
int vu_set_features(struct vu_session *s, struct vu_msg *m);
int vu_get_protocol_features(struct vu_session *s, struct vu_msg *m);
int vu_set_protocol_features(struct vu_session *s, struct vu_msg *m);
int vu_set_owner(struct vu_session *s, struct vu_msg *m);
int vu_reset_owner(struct vu_session *s, struct vu_msg *m);
int vu_get_queue_num(struct vu_session *s, struct vu_msg *m);
int vu_reset_device_msg(struct vu_session *s, struct vu_msg *m);
int vu_set_status(struct vu_session *s, struct vu_msg *m);
int vu_get_status(struct vu_session *s, struct vu_msg *m);
int vu_get_config(struct vu_session *s, struct vu_msg *m);
int vu_set_config(struct vu_session *s, struct vu_msg *m);
int vu_send_rarp(struct vu_session *s, struct vu_msg *m);
int vu_net_set_mtu(struct vu_session *s, struct vu_msg *m);

int vu_set_mem_table(struct vu_session *s, struct vu_msg *m);
int vu_get_max_mem_slots(struct vu_session *s, struct vu_msg *m);
int vu_add_mem_reg(struct vu_session *s, struct vu_msg *m);
int vu_rem_mem_reg(struct vu_session *s, struct vu_msg *m);
int vu_set_log_base(struct vu_session *s, struct vu_msg *m);
int vu_set_log_fd(struct vu_session *s, struct vu_msg *m);
int vu_iotlb_msg(struct vu_session *s, struct vu_msg *m);

int vu_set_vring_num(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_addr(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_base(struct vu_session *s, struct vu_msg *m);
int vu_get_vring_base(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_kick(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_call(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_err(struct vu_session *s, struct vu_msg *m);
int vu_set_vring_enable(struct vu_session *s, struct vu_msg *m);
int vu_vring_kick(struct vu_session *s, struct vu_msg *m);

int vu_get_inflight_fd(struct vu_session *s, struct vu_msg *m);
int vu_set_inflight_fd(struct vu_session *s, struct vu_msg *m);
int vu_set_device_state_fd(struct vu_session *s, struct vu_msg *m);
int vu_check_device_state(struct vu_session *s, struct vu_msg *m);
int vu_set_backend_req_fd(struct vu_session *s, struct vu_msg *m);

#endif
