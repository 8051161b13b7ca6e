/* SPDX-License-Identifier: MIT */
/*
 * Purpose: vio's drivers on the kernel's own devices, in a guest whose kernel has vhost: each word is one check, which ends with 0
 * and a line, or with 1 and a sentence. Where it sits: tests/guest/vhost_kernel. Threads: see vk.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/drv_generic.h>
#include "spec/virtio.h"
#include "vk.h"

static const char usage[] =
    "usage: vk net [OPTIONS]              answers ARP, echo requests and UDP port 7 until SIGTERM\n"
    "       vk vsock|scsi [OPTIONS]       one check\n"
    "       vk wire tap=NAME tap2=NAME    between two interfaces, until SIGTERM\n"
    "       vk broken net|vsock|scsi ...  a ring that the kernel cannot use, and what becomes of it\n"
    "       vk open net|vsock|scsi ...    only makes the device\n"
    "       vk udp ADDRESS COUNT          datagrams of the kernel's to port 7 there, and back\n"
    "options: tap=NAME address=A/N cid=N wwpn=NAME tpgt=N file=PATH node=PATH queues=N user=N polled plain second hold\n";

void die(const char *format, ...)
{
    va_list ap;

    fputs("vk: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

/* ------------------------------------------------------------------ a device */

static void say(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s: %s\n", name, line);
}
static const struct vio_log log_ = { .write = say, .level = VIO_LOG_INFO };

void rig_open(struct rig *r, const struct options *o, const struct vio_driver *driver)
{
    struct vio_arena_params memory = { .size = 64 << 20, .small_pages = true, .log = &log_ };
    struct vio_vhost_kernel_params params = o->params;
    struct vio_transport *t = NULL;
    char why[VIO_DRV_WHY];

    CHECK(r->arena != NULL || vio_arena_create(&memory, &r->arena) == 0);
    params.arena = r->arena;
    params.log = &log_;
    if (vio_vhost_kernel_create(&params, &t, why) != 0)
        die("%s", why);
    CHECK(vio_bus_create(vio_arena_platform(r->arena), &r->bus) == 0);
    CHECK(vio_bus_add(r->bus, t, 0, driver, &r->d) == 0);
    if (vio_drvdev_status(r->d) != VIO_DRVDEV_RUNS)
        die("%s", vio_drvdev_why(r->d));
    if (o->second && vio_drvdev_recover(r->d) != 0)
        die("the second time: %s", vio_drvdev_why(r->d));
    if (o->second && (vio_drvdev_suspend(r->d) != 0 || vio_drvdev_resume(r->d) != 0))
        die("the third time: %s", vio_drvdev_why(r->d));
}

void rig_close(struct rig *r)
{
    vio_bus_destroy(r->bus);
    vio_arena_destroy(r->arena);
}

bool rig_event(struct rig *r, const uint16_t *queues, unsigned n, int ms)
{
    struct pollfd p[16];

    CHECK(n < 15);
    for (unsigned i = 0; i <= n; i++)
        p[i] = (struct pollfd){ .fd = vio_drvdev_event_fd(r->d, i < n ? queues[i] : VIO_EVENT_QUEUE_CONFIG), .events = POLLIN };
    if (poll(p, n + 1, ms) <= 0)
        return false;
    for (unsigned i = 0; i <= n; i++)
        while ((p[i].revents & POLLIN) != 0 && vio_drvdev_event(r->d, i < n ? queues[i] : VIO_EVENT_QUEUE_CONFIG))
            ;
    if (vio_drvdev_status(r->d) != VIO_DRVDEV_RUNS)
        die("%s", vio_drvdev_why(r->d));
    return true;
}

/* ------------------------------------------------------------------ words */

static bool value(const char *arg, const char *key, const char **to)
{
    size_t n = strlen(key);

    if (strncmp(arg, key, n) != 0 || arg[n] != '=')
        return false;
    *to = arg + n + 1;
    return true;
}

static void take_option(struct options *o, const char *arg)
{
    const char *number = NULL;

    if (!strcmp(arg, "polled"))
        o->polled = true;
    else if (!strcmp(arg, "plain"))
        o->plain = true;
    else if (!strcmp(arg, "hold"))
        o->hold = true;
    else if (!strcmp(arg, "second"))
        o->second = true;
    else if (value(arg, "cid", &number))
        o->params.cid = strtoull(number, NULL, 0);
    else if (value(arg, "tpgt", &number))
        o->params.tpgt = (uint16_t)atoi(number);
    else if (value(arg, "queues", &number))
        o->params.queues = (uint16_t)atoi(number);
    else if (value(arg, "user", &number))
        CHECK(setgid((gid_t)atoi(number)) == 0 && setuid((uid_t)atoi(number)) == 0);
    else if (!value(arg, "tap", &o->params.tap) && !value(arg, "tap2", &o->tap2) && !value(arg, "address", &o->params.tap_address) &&
             !value(arg, "wwpn", &o->params.wwpn) && !value(arg, "file", &o->file) && !value(arg, "node", &o->params.node))
        die("%s?\n%s", arg, usage);
}

static uint32_t type_of(const char *word)
{
    return !strcmp(word, "net") ? VIRTIO_ID_NET : !strcmp(word, "vsock") ? VIRTIO_ID_VSOCK : !strcmp(word, "scsi") ? VIRTIO_ID_SCSI : 0;
}

static int only_open(const struct options *o)
{
    struct vio_drv_generic_driver driver;
    struct rig r = { .d = NULL };

    vio_drv_generic_driver(&driver, &(struct vio_drv_generic_params){ 0 });
    rig_open(&r, o, &driver.driver);
    printf("opened %s\n", vio_drvdev_name(r.d));
    while (o->hold)
        pause();
    rig_close(&r);
    return 0;
}

/* A buffer that is nowhere in what the kernel was given. */
static int broken(const struct options *o)
{
    uint16_t queue = o->params.type == VIRTIO_ID_SCSI ? 2 : 1;
    struct pollfd p = { .events = POLLIN };
    struct vio_buf buf = { 0x1000, 64 };
    struct vio_drv_generic_driver driver;
    struct rig r = { .d = NULL };

    vio_drv_generic_driver(&driver, &(struct vio_drv_generic_params){ 0 });
    rig_open(&r, o, &driver.driver);
    CHECK(vio_drvq_put(vio_drvdev_queue(r.d, queue), &buf, 1, 0, 1) == 0);
    vio_drvdev_publish(r.d, queue);
    p.fd = vio_drvdev_event_fd(r.d, VIO_EVENT_QUEUE_CONFIG);
    CHECK(poll(&p, 1, 10000) == 1);
    (void)vio_drvdev_event(r.d, VIO_EVENT_QUEUE_CONFIG);
    CHECK(vio_drvdev_status(r.d) == VIO_DRVDEV_BROKEN);
    puts(vio_drvdev_why(r.d));
    CHECK(strstr(vio_drvdev_why(r.d), "VRING_ERR") != NULL && vio_drvdev_recover(r.d) == 0);
    rig_close(&r);
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = { .file = NULL };
    bool open_it = argc > 2 && !strcmp(argv[1], "open"), break_it = argc > 2 && !strcmp(argv[1], "broken");
    bool wire_it = argc > 2 && !strcmp(argv[1], "wire");
    int first = open_it || break_it ? 3 : 2;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 4 && !strcmp(argv[1], "udp"))
        return udp_check(argv[2], (unsigned)atoi(argv[3]));
    if (argc < first || (o.params.type = type_of(wire_it ? "net" : argv[first - 1])) == 0)
        die("\n%s", usage);
    for (int i = first; i < argc; i++)
        take_option(&o, argv[i]);
    if (open_it || break_it || wire_it)
        return open_it ? only_open(&o) : break_it ? broken(&o) : wire(&o);
    return o.params.type == VIRTIO_ID_NET ? net_serve(&o) : o.params.type == VIRTIO_ID_VSOCK ? vsock_check(&o) : scsi_check(&o);
}
