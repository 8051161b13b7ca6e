/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the one table of vhost-user messages. The codec, the checks, the names in the log and docs/vhost-user.md all
 * come from it. Where it sits: transport/vhost_user, private. Trust: a message reaches its handler only after
 * vu_message_check() and the state check of session.c have passed it.
 */
#ifndef VIO_TRANSPORT_VHOST_USER_TABLE_H
#define VIO_TRANSPORT_VHOST_USER_TABLE_H

#include <vio/types.h>
#include "spec/vhost_user.h"

struct vu_session;
struct vu_msg;

/* How long a payload may be. Structures that end in padding are sent with and without it. */
enum vu_length {
    VU_LENGTH_EXACT,   /* length bytes */
    VU_LENGTH_EITHER,  /* length or length_padded bytes */
    VU_LENGTH_REGIONS, /* 8 bytes and 32 for each region that they count, with or without room for more, up to 8 */
    VU_LENGTH_CONFIG,  /* 12 bytes and as many as they count */
};

/* How many descriptors come along. */
enum vu_fds {
    VU_FDS_NONE,
    VU_FDS_ONE,
    VU_FDS_ONE_UNUSED,  /* none; one is closed unused, for old front-ends */
    VU_FDS_REGIONS,     /* one a region */
    VU_FDS_UNLESS_FLAG, /* one, unless bit 8 of the payload says that there is none */
};

/* Where a payload names a queue. */
enum vu_index { VU_INDEX_NONE, VU_INDEX_U32, VU_INDEX_U64 };

/* When it may come. Bits. */
enum {
    VU_WHEN_OWNED = 1,          /* after SET_OWNER */
    VU_WHEN_QUEUE_STOPPED = 2,  /* while the queue it names is stopped */
    VU_WHEN_ALL_STOPPED = 4,    /* while no queue runs */
    VU_WHEN_FEATURES = 8,       /* after SET_FEATURES */
};

enum vu_reply {
    VU_REPLY_ACK,  /* none of its own; a u64 with REPLY_ACK and need_reply */
    VU_REPLY_OWN,  /* always its own; need_reply adds nothing */
};

/* What the front-end gets where a message with a reply of its own is refused. */
enum vu_refusal {
    VU_REFUSE_CLOSE, /* no form of reply says "refused": the connection ends */
    VU_REFUSE_U64,   /* a u64 other than 0 */
    VU_REFUSE_EMPTY, /* a payload of no bytes */
    VU_REFUSE_ZEROES, /* the request's payload with a size of 0 */
};

enum { VU_BIT_NONE = -1, VU_BIT_ANY_PROTOCOL = -2 /* bit 30 negotiated */ };

struct vu_message {
    uint32_t id;
    const char *name;
    enum vu_length length_kind;
    uint16_t length, length_padded;
    enum vu_fds fds;
    enum vu_index index;
    int8_t protocol_bit; /* only with this protocol feature, or VU_BIT_NONE */
    int8_t virtio_bit;   /* only with this feature, VU_BIT_NONE or VU_BIT_ANY_PROTOCOL */
    uint8_t when;
    enum vu_reply reply;
    enum vu_refusal refusal;
    const char *reply_text; /* for the page: what the reply holds */
    const char *does;       /* for the page */
    /* 0; -errno with the reason in the session; VU_LATER: the handler has seen to the reply itself. */
    int (*handle)(struct vu_session *s, struct vu_msg *m);
};

/* What we send on the front-end's back-end channel. */
struct vu_request {
    uint32_t id;
    const char *name;
    uint16_t length;
    int8_t protocol_bit;
    const char *does;
};

extern const struct vu_message vu_messages[];
extern const unsigned vu_nr_messages;
extern const struct vu_request vu_requests[];
extern const unsigned vu_nr_requests;

const struct vu_message *vu_message_find(uint32_t id); /* NULL: unknown */
const struct vu_request *vu_request_find(uint32_t id);
/* Also for messages that vio does not speak; "message 99" into text otherwise. */
const char *vu_message_name(uint32_t id, char *text, size_t size);
const char *vu_protocol_name(unsigned bit); /* NULL: none */
/* "MQ, LOG_SHMFD, bit 40" into text, cut to size. */
const char *vu_protocol_text(uint64_t bits, char *text, size_t size);
/* The protocol features that vio can speak for a device that needs them all. */
uint64_t vu_protocol_spoken(void);

/*
 * Length and descriptors of a whole message against its row. 0, or -EPROTO with one sentence in why.
 */
int vu_message_check(const struct vu_message *row, const void *payload, uint32_t size, unsigned nr_fds, char *why,
                     size_t why_size);
/* The queue that a checked payload names. */
uint32_t vu_message_queue(const struct vu_message *row, const void *payload);

#endif
