/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the driver of traditional balloon devices (virtio 1.4, 5.5): pages given to the host and taken back, statistics,
 * hints of free pages, and reports of them. Which pages is the caller's affair.
 * Where it sits: driver/, over driver/core; freestanding.
 * Threads: one owner, which makes all of these calls and is the control thread of the device. Calls that give pages wait.
 * Trust: the device may use the content of any page it was given; nothing else. How many pages are inside is our own count.
 */
#ifndef VIO_DRV_BALLOON_H
#define VIO_DRV_BALLOON_H

#include <vio/driver.h>

VIO_PUBLIC_BEGIN

enum {
    VIO_DRV_BALLOON_PAGE = 4096,      /* bytes; also where the system's pages are larger */
    VIO_DRV_BALLOON_STATS_MAX = 16,
    VIO_DRV_BALLOON_RANGES_MAX = 32,  /* ranges that are reported in one buffer */
};

/*
 * How a device numbers its queues. The specification gives each a fixed number (5.5.2); QEMU, and Linux's driver, count only
 * those that there are. AUTO: fixed where the device has a queue that otherwise would not be, by order where that cannot be known.
 */
enum vio_drv_balloon_numbers { VIO_DRV_BALLOON_AUTO, VIO_DRV_BALLOON_BY_ORDER, VIO_DRV_BALLOON_FIXED };

struct vio_drv_balloon_stat {
    uint16_t tag; /* VIRTIO_BALLOON_S_*, spec/balloon.h */
    uint64_t value;
};

struct vio_drv_balloon_params {
    enum vio_drv_balloon_numbers numbers;
    bool hints;   /* FREE_PAGE_HINT and PAGE_REPORTING are wanted */
    bool poisons; /* free pages hold this word again and again; without PAGE_POISON no hints are then negotiated */
    uint32_t poison;
    /* The device asks for statistics: how many of max were filled in. NULL: no statistics. */
    unsigned (*stats)(void *ctx, struct vio_drvdev *d, struct vio_drv_balloon_stat *stats, unsigned max);
    /* The configuration changed: vio_drv_balloon_target(), vio_drv_balloon_hint_id(). NULL: of no interest. */
    void (*changed)(void *ctx, struct vio_drvdev *d);
    void *ctx;
};

/* All defaults: no statistics, no hints. */
extern const struct vio_driver vio_driver_balloon;

/* The same driver, wanted otherwise: `driver` goes to the bus, and this outlives its devices. */
struct vio_drv_balloon_driver {
    struct vio_driver driver;
    struct vio_drv_balloon_params params;
};
void vio_drv_balloon_driver(struct vio_drv_balloon_driver *driver, const struct vio_drv_balloon_params *params);

struct vio_drv_balloon;

/* NULL: this device is not run by this driver, or does not run. */
struct vio_drv_balloon *vio_drv_balloon_of(struct vio_drvdev *d);

uint32_t vio_drv_balloon_target(const struct vio_drv_balloon *b); /* pages the host wants inside */
uint32_t vio_drv_balloon_actual(const struct vio_drv_balloon *b); /* pages inside */
/* Whether fewer pages than the target may be inside where memory runs out (DEFLATE_ON_OOM). */
bool vio_drv_balloon_deflates_on_oom(const struct vio_drv_balloon *b);
/* Looks at the statistics queue: for those who poll. */
void vio_drv_balloon_service(struct vio_drv_balloon *b);

/*
 * Gives pages, or takes them back, by their addresses at the device; waits until the device knows. Pages that are inside are
 * not touched; after deflate they may be. -EINVAL: an address inside a page; -ERANGE: beyond what 32 bits of page number say,
 * or more pages than are inside; -EPERM: deflate below the target without DEFLATE_ON_OOM (5.5.6.1);
 * -ETIMEDOUT: then the pages not yet told count as inside when the device answers; -EBUSY until it does; -EIO: broken.
 */
int vio_drv_balloon_inflate(struct vio_drv_balloon *b, const uint64_t *pages, size_t n, uint64_t ns) VIO_MUST_CHECK;
int vio_drv_balloon_deflate(struct vio_drv_balloon *b, const uint64_t *pages, size_t n, uint64_t ns) VIO_MUST_CHECK;

/*
 * Free page hinting (5.5.6.5). The command the device has out; 0: stop, 1: done: pages hinted before may be used again.
 * hint tells the ranges under that command, begin and end with it; -ECANCELED: there is no command, or it ended meanwhile.
 * -ENOTSUP: not negotiated; -EINVAL: an empty range; -ETIMEDOUT, -EBUSY, -EIO as above.
 */
uint32_t vio_drv_balloon_hint_id(const struct vio_drv_balloon *b);
int vio_drv_balloon_hint(struct vio_drv_balloon *b, const struct vio_buf *ranges, size_t n, uint64_t ns) VIO_MUST_CHECK;
/* Page reporting (5.5.6.7): these ranges are free; on return they may be used again. Errors as of hint. */
int vio_drv_balloon_report(struct vio_drv_balloon *b, const struct vio_buf *ranges, size_t n, uint64_t ns) VIO_MUST_CHECK;

VIO_PUBLIC_END

#endif
