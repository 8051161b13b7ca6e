/* SPDX-License-Identifier: MIT */
/*
 * Purpose: TARGET = TRANSPORT:WHERE, the device that `vio probe` and `vio bench` drive: from what is written to a transport, and
 * what of the device can be seen without driving it. Where it sits: cli/, over the driver side's transports.
 * Threads: the caller's; it waits. Trust: what a device says of itself is shown, and checked for its form only.
 */
#ifndef VIO_CLI_TARGET_H
#define VIO_CLI_TARGET_H

#include <vio/arena.h>
#include <vio/driver.h>

#include "cli/config_fields.h"

enum { TARGET_WHY = 512, TARGET_TEXT = 512 };

enum target_kind { TARGET_VHOST_USER, TARGET_PCI, TARGET_VHOST };

struct target {
    const char *text;     /* as it was written; borrowed */
    enum target_kind kind;
    char where[TARGET_TEXT]; /* the part of it behind the transport's name: path, address, node; what follows ',' is cut off... */
    const char *tap, *address, *wwpn; /* ...and is here, pointing into it; NULL: not given */
    uint64_t cid;
    uint16_t tpgt;
    bool legacy;

    /* For opening it: */
    struct vio_arena_params memory; /* size, small_pages, populate: what the device reaches */
    unsigned timeout_ms;  /* of each answer */
    uint32_t type;        /* device id, where the transport is not told; 0: not known */
    uint16_t queues;      /* that will be wanted, as vhost in the kernel counts them: pairs, request queues */
    uint16_t queue_size_max; /* where the transport is not told by the device; 0: its default */

    struct vio_arena *arena; /* NULL: not open yet */
    struct vio_transport *t; /* NULL: not open; a bus that has it closes it */

    /* target_look(): */
    struct vio_features offered;
    uint8_t config[CONFIG_BYTES_MAX];
    uint32_t config_len; /* 0: none was shown */
};

/*
 * Every call that can fail returns 0 or -errno, with one sentence in why, TARGET_WHY bytes.
 */
/* Only the text: -EINVAL. A path alone is vhost-user's. */
int target_parse(struct target *target, const char *text, char *why) VIO_MUST_CHECK;
/* Memory is made at the first time, of the kind that the device needs. */
int target_open(struct target *target, char *why) VIO_MUST_CHECK;
/* Before the transport is given to a bus, which closes it from then on: target->t is to be NULL then. The memory stays. */
void target_close(struct target *target);
/* Closed, and nothing of its memory is used any more. */
void target_free_memory(struct target *target);

/* Features and the first at_most bytes of the configuration. A device that hangs up over a question is called again. */
int target_look(struct target *target, uint32_t at_most, char *why) VIO_MUST_CHECK;
/* The type that the device says it is, or *guessed: looks to be (vhost-user does not tell). NULL: cannot be seen. */
const struct config_type *target_type(const struct target *target, bool *guessed);
/* The socket that the device's process is at the other end of; -1: there is no such process. */
int target_socket(const struct target *target);

/* How a TARGET is written, for help and messages. */
#define TARGET_SYNTAX "vhost-user:PATH, pci:DDDD:BB:DD.F or vhost:NODE,tap=NAME (or cid=N, wwpn=NAA)"

#endif
