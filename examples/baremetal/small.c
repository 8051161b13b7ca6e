/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the devices that take a few calls each: console, entropy, balloon. Where it sits: over vio/drv_console.h, vio/drv_rng.h
 * and vio/drv_balloon.h. Threads: one. Trust: see there.
 */
#include <errno.h>
#include <vio/drv_balloon.h>
#include <vio/drv_console.h>
#include <vio/drv_rng.h>

#include "devices.h"
#include "memory.h"
#include "say.h"

/* ------------------------------------------------------------------ console */

/* A device with several ports says by and by which there are. */
static void wait_for_port(struct vio_drv_console *c, uint32_t port)
{
    uint64_t end = machine_now_ns() + UINT64_C(1000000000);
    struct vio_drv_console_port p;

    while (machine_now_ns() < end && (vio_drv_console_port(c, port, &p) != 0 || !p.host_open)) {
        vio_drv_console_service(c);
        machine_pause();
    }
}

static void use_port(const char *name, struct vio_drv_console *c, uint32_t port)
{
    static const char line[] = "a line through virtio-console\n";
    struct vio_drv_console_port p;
    int r;

    if (vio_drv_console_port(c, port, &p) != 0)
        return;
    if (p.cols != 0 && p.rows != 0)
        say(name, "port %u: terminal of %u columns and %u rows", port, p.cols, p.rows);
    else
        say(name, "port %u: %s, which does not tell its size", port, p.console ? "terminal" : "channel");
    if (!p.host_open)
        return;
    r = vio_drv_console_write_all(c, port, line, sizeof(line) - 1, PATIENCE_NS);
    if (r == 0)
        r = vio_drv_console_flush(c, port, PATIENCE_NS);
    if (r == 0)
        say(name, "port %u: wrote %u bytes", port, (unsigned)sizeof(line) - 1);
    else
        problem(name, "port %u: error %d on writing", port, -r);
}

void use_console(struct vio_drvdev *d, const char *arguments)
{
    struct vio_drv_console *c = vio_drv_console_of(d);
    uint32_t ports = vio_drv_console_ports(c);

    (void)arguments;
    wait_for_port(c, 0);
    say(vio_drvdev_name(d), "console, at most %u ports", ports);
    for (uint32_t i = 0; i < ports; i++)
        use_port(vio_drvdev_name(d), c, i);
}

/* ------------------------------------------------------------------ entropy */

void use_entropy(struct vio_drvdev *d, const char *arguments)
{
    const char *name = vio_drvdev_name(d);
    uint8_t b[16];
    int r = vio_drv_rng_read(vio_drv_rng_of(d), b, sizeof(b), PATIENCE_NS);

    (void)arguments;
    if (r != 0)
        problem(name, "no random bytes: error %d", -r);
    else
        say(name, "16 random bytes: %02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
            b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* ------------------------------------------------------------------ balloon */

/* A page goes in and comes back. */
void use_balloon(struct vio_drvdev *d, const char *arguments)
{
    const struct vio_platform *p = memory_platform();
    struct vio_drv_balloon *b = vio_drv_balloon_of(d);
    const char *name = vio_drvdev_name(d);
    uint64_t address;
    void *page = p->dma_alloc(p->ctx, VIO_DRV_BALLOON_PAGE, VIO_DRV_BALLOON_PAGE, &address);
    int r = page != NULL ? vio_drv_balloon_inflate(b, &address, 1, PATIENCE_NS) : -ENOMEM;

    (void)arguments;
    say(name, "balloon, wanted are %u pages, inside are %u", vio_drv_balloon_target(b), vio_drv_balloon_actual(b));
    if (r == 0)
        r = vio_drv_balloon_deflate(b, &address, 1, PATIENCE_NS);
    if (r == 0)
        say(name, "a page went in and came back");
    else
        problem(name, "a page does not go in and come back: error %d", -r);
    if (r == 0 || r == -ENOMEM) /* else the device may still have it */
        p->dma_free(p->ctx, page, VIO_DRV_BALLOON_PAGE, address);
}
