/* SPDX-License-Identifier: MIT */
/*
 * Purpose: what stands behind a network device, as the command line has it: its keys, the rules between them, and how
 * they become a backend. Where it sits: cli/. Threads: the control thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/spec_net.h"
#include "cli/switches.h"

enum {
    INTERFACE_NAME_MAX = 15, /* IFNAMSIZ less its zero byte */
    SOCKET_PATH_MAX = 107,
    SWITCH_NAME_MAX = 64,
    FORWARDS_MAX = 64,
    VLAN_MAX = 4094,
    GENERATE_MIN = 60,
    GENERATE_MAX = 65535,
    TAP_QUEUES_MAX = 64,
    FD_MAX = 1048575,
};

static const struct spec_key backend_keys[] = {
    { .name = "user", .form = SPEC_FLAG, .value = "on|off", .fallback_says = "on, where none of these is given",
      .help = "a network of the guest's own behind an address translation in this process (libslirp): out works, in only "
              "by forward=; needs no rights" },
    { .name = "tap", .form = SPEC_TEXT, .value = "NAME", .max = INTERFACE_NAME_MAX,
      .help = "a tap interface of the host's, made where there is none; may hold one %d" },
    { .name = "tapfd", .form = SPEC_TEXT, .value = "N", .max = 1024,
      .help = "an open tap: a descriptor that vio was started with; several queues of one tap are joined by +: 5+6+7" },
    { .name = "switch", .form = SPEC_TEXT, .value = "NAME", .max = SWITCH_NAME_MAX,
      .help = "a port of a switch in this process, which all devices share that name it" },
    { .name = "stream", .form = SPEC_PATH, .value = "PATH", .max = SOCKET_PATH_MAX,
      .help = "a UNIX stream socket that carries frames, each behind its length: QEMU's -netdev stream, passt" },
    { .name = "dgram", .form = SPEC_PATH, .value = "PATH", .max = SOCKET_PATH_MAX,
      .help = "a UNIX datagram socket, one frame a datagram: QEMU's -netdev dgram" },
    { .name = "null", .form = SPEC_FLAG, .value = "on|off", .help = "takes all frames and drops them; for measuring" },
    { .name = "generate", .form = SPEC_NUMBER, .value = "BYTES", .min = GENERATE_MIN, .max = GENERATE_MAX,
      .help = "sends frames of so many bytes as fast as they are taken; for measuring" },
    { .name = "echo", .form = SPEC_FLAG, .value = "on|off",
      .help = "sends each frame back, its addresses swapped; for measuring" },
    { .name = "queues", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = TAP_QUEUES_MAX, .fallback_says = "as many as threads=",
      .help = "tap=: queues of the interface (IFF_MULTI_QUEUE), each for pairs of the card's own: pair i is on queue i modulo N. "
              "The kernel keeps a flow on one of them" },
    { .name = "bridge", .form = SPEC_TEXT, .value = "NAME", .max = INTERFACE_NAME_MAX,
      .help = "tap=: put the interface into this bridge of the host's" },
    { .name = "address", .form = SPEC_TEXT, .value = "ADDRESS/BITS", .max = 64,
      .help = "tap=: give the host's side this address, IPv4 or IPv6: 192.0.2.1/24" },
    { .name = "forward", .form = SPEC_TEXT, .value = "RULE", .max = 4096,
      .help = "user: connections to a port of the host's go to one of the guest's: tcp:2222:22, udp:127.0.0.1:5353:53; "
              "several are joined by +" },
    { .name = "restricted", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "user: no way out for the guest; forward= works" },
    { .name = "isolated", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "switch=: this port reaches the uplink and ports that are not isolated, and no other" },
    { .name = "fixed-mac", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "switch=: frames from another address than mac= (or, with config=on, the made one) are dropped, and no other "
              "port may send from it. The driver cannot change its address" },
    { .name = "vlan", .form = SPEC_NUMBER, .value = "N", .min = 1, .max = VLAN_MAX, .fallback_says = "a trunk: tags as they come",
      .help = "switch=: this port is in VLAN N, and its frames have no tag" },
    { .name = "uplink", .form = SPEC_TEXT, .value = "WHERE", .max = SOCKET_PATH_MAX + 16,
      .help = "switch=: what the switch is connected to: tap:NAME, user or stream:PATH; on one device of a switch. Keys for "
              "that backend may stand beside it" },
    { .name = "listen", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "stream=: vio makes the socket, and the other side connects" },
    { .name = "local", .form = SPEC_PATH, .value = "PATH", .max = SOCKET_PATH_MAX, .fallback_says = "one beside PATH",
      .help = "dgram=: our own address, to which the other side sends" },
    { .name = "copy", .form = SPEC_FLAG, .value = "on|off", .fallback = "off",
      .help = "null: copy each frame out before it is dropped, as a real one would" },
    { .name = "capture", .form = SPEC_PATH, .value = "FILE",
      .help = "write what crosses, both ways, into this file (pcapng); `vio ctl` begins and ends it as well" },
};

const struct spec_group net_backend_group = {
    .title = "network (one of user, tap, tapfd, switch, stream, dgram, null, generate, echo)",
    .keys = backend_keys, .nr = sizeof(backend_keys) / sizeof(backend_keys[0]),
};
const char *const net_one_backend[] = { "user", "tap", "tapfd", "switch", "stream", "dgram", "null", "generate", "echo",
                                        NULL };

/* ------------------------------------------------------------------ rules */

VIO_PRINTF(3, 4)
static int refuse(char *why, size_t why_size, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, why_size, format, ap);
    va_end(ap);
    return -EINVAL;
}

/* What uplink= says. */
struct uplink {
    const char *kind; /* a key of the backends; NULL: no uplink */
    const char *name; /* "" for user */
};

static int read_uplink(const struct spec *spec, struct uplink *u, char *why, size_t why_size)
{
    static const char *const kinds[] = { "tap", "user", "stream" };
    const char *text = spec_text(spec, "uplink");
    size_t n = text != NULL ? strcspn(text, ":") : 0;

    *u = (struct uplink){ .name = "" };
    if (text == NULL)
        return 0;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strlen(kinds[i]) == n && memcmp(kinds[i], text, n) == 0)
            u->kind = kinds[i];
    if (text[n] == ':')
        u->name = text + n + 1;
    if (u->kind == NULL || (strcmp(u->kind, "user") == 0) != (text[n] == '\0') || (text[n] == ':' && u->name[0] == '\0'))
        return refuse(why, why_size, "net: uplink=%s is not tap:NAME, user or stream:PATH", text);
    if (strcmp(u->kind, "tap") == 0 && strlen(u->name) > INTERFACE_NAME_MAX)
        return refuse(why, why_size, "net: uplink=%s: the name of an interface has at most %d bytes", text, INTERFACE_NAME_MAX);
    if (strlen(u->name) > SOCKET_PATH_MAX)
        return refuse(why, why_size, "net: uplink=%s: the path of a socket has at most %d bytes", text, SOCKET_PATH_MAX);
    return 0;
}

/* The descriptors of tapfd=; how many, 0: there is something else in it. */
static unsigned read_fds(const char *text, int fds[TAP_QUEUES_MAX])
{
    unsigned nr = 0;

    for (;;) {
        unsigned long fd;
        char *end;

        if (*text < '0' || *text > '9' || nr == TAP_QUEUES_MAX)
            return 0;
        fd = strtoul(text, &end, 10);
        if (fd < 3 || fd > FD_MAX || (*end != '+' && *end != '\0'))
            return 0;
        for (unsigned i = 0; i < nr; i++)
            if (fds[i] == (int)fd)
                return 0;
        fds[nr++] = (int)fd;
        if (*end == '\0')
            return nr;
        text = end + 1;
    }
}

unsigned net_lanes(const struct spec *spec)
{
    const char *chosen = spec_chosen(spec);
    int fds[TAP_QUEUES_MAX];
    unsigned nr;

    if (chosen != NULL && strcmp(chosen, "tapfd") == 0) {
        nr = read_fds(spec_text(spec, "tapfd"), fds);
        return nr > 0 ? nr : 1;
    }
    return (unsigned)spec_number(spec, spec_given(spec, "queues") ? "queues" : "threads");
}

/* Frames of one flow must stay in order, and most networks are one thing that one thread drives. */
static int check_threads(const struct spec *spec, const char *chosen, char *why, size_t why_size)
{
    static const char *const several[] = { "tap", "tapfd", "null", "generate", "echo" };
    uint64_t threads = spec_number(spec, "threads");
    bool fine = threads == 1;

    for (unsigned i = 0; i < sizeof(several) / sizeof(several[0]); i++)
        fine |= strcmp(several[i], chosen) == 0;
    if (!fine)
        return refuse(why, why_size, "net: threads=%" PRIu64 " is not possible with %s, which one thread serves, so that nothing "
                      "is locked: tap=NAME has a queue for each thread", threads, chosen);
    if (threads > net_lanes(spec))
        return refuse(why, why_size, "net: threads=%" PRIu64 " is more than the tap's queues, of which there %s: each thread "
                      "needs one (%s)", threads, net_lanes(spec) == 1 ? "is one" : "are fewer",
                      strcmp(chosen, "tapfd") == 0 ? "tapfd=N+N" : "queues=");
    return 0;
}

/* A key that means nothing for the backend that was chosen is a mistake, not a wish to be ignored. */
int net_backend_check(const struct spec *spec, char *why, size_t why_size)
{
    static const struct {
        const char *key, *needs;
    } rules[] = {
        { "bridge", "tap" },      { "address", "tap" }, { "forward", "user" },  { "restricted", "user" },
        { "isolated", "switch" }, { "vlan", "switch" }, { "uplink", "switch" }, { "listen", "stream" },
        { "local", "dgram" },     { "copy", "null" },   { "queues", "tap" },
        { "fixed-mac", "switch" },
    };
    static const char *const not_empty[] = { "tap", "switch", "bridge", "address", "forward" };
    const char *chosen = spec_chosen(spec);
    struct uplink uplink;
    int fds[TAP_QUEUES_MAX];

    for (unsigned i = 0; i < sizeof(not_empty) / sizeof(not_empty[0]); i++)
        if (spec_given(spec, not_empty[i]) && spec_text(spec, not_empty[i])[0] == '\0')
            return refuse(why, why_size, "net: %s= is empty", not_empty[i]);
    if (spec_given(spec, "tapfd") && read_fds(spec_text(spec, "tapfd"), fds) == 0)
        return refuse(why, why_size, "net: tapfd=%s: a descriptor is a number from 3 to %d, and up to %d different ones are joined "
                      "by +", spec_text(spec, "tapfd"), FD_MAX, TAP_QUEUES_MAX);
    if (read_uplink(spec, &uplink, why, why_size) < 0)
        return -EINVAL;
    if (uplink.kind != NULL && spec_given(spec, "queues"))
        return refuse(why, why_size, "net: queues= is not for the tap of an uplink: one thread serves a switch");
    if (spec_flag(spec, "fixed-mac") && !spec_given(spec, "mac") && !spec_flag(spec, "config"))
        return refuse(why, why_size, "net: fixed-mac: whoever starts the guest must know the address too: give mac= here and "
                      "there, as `vio xml` does, or config=on");
    for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (!spec_given(spec, rules[i].key) || strcmp(chosen, rules[i].needs) == 0 ||
            (uplink.kind != NULL && strcmp(uplink.kind, rules[i].needs) == 0))
            continue;
        return refuse(why, why_size, "net: %s= is for %s only, and the network is %s here", rules[i].key, rules[i].needs, chosen);
    }
    return check_threads(spec, chosen, why, why_size);
}

/* ------------------------------------------------------------------ opening */

/* The rules of forward=, cut apart. text is changed. -E2BIG: too many; -EINVAL: an empty one. */
static int cut_forwards(char *text, const char *list[FORWARDS_MAX + 1])
{
    unsigned nr = 0;

    while (text != NULL) {
        char *plus = strchr(text, '+');

        if (nr == FORWARDS_MAX)
            return -E2BIG;
        if (plus != NULL)
            *plus++ = '\0';
        if (*text == '\0')
            return -EINVAL;
        list[nr++] = text;
        text = plus;
    }
    list[nr] = NULL;
    return 0;
}

static int open_user(const struct spec *spec, const struct vio_log *log, struct vio_net_backend **out, char *why,
                     size_t why_size)
{
    const char *list[FORWARDS_MAX + 1] = { NULL };
    struct vio_net_user_params params = { .forward = list, .restricted = spec_flag(spec, "restricted"), .log = log };
    const char *text = spec_text(spec, "forward");
    char *copy = NULL;
    int err = 0;

    if (text != NULL) {
        copy = strdup(text);
        if (copy == NULL)
            return -ENOMEM;
        err = cut_forwards(copy, list);
    }
    if (err == -E2BIG)
        (void)refuse(why, why_size, "forward= has more than %d rules", FORWARDS_MAX);
    else if (err < 0)
        (void)refuse(why, why_size, "forward=%s: nothing stands between two +, or at an end", text);
    else
        err = vio_net_user_open(&params, out, why, why_size);
    free(copy);
    return err;
}

/* fds: queues of them, or NULL. */
static int open_tap(const struct spec *spec, const char *name, const int *fds, unsigned queues, const struct vio_log *log,
                    struct vio_net_backend **out, char *why, size_t why_size)
{
    struct vio_net_tap_params params = {
        .name = name,
        .fd = fds != NULL ? fds[0] : -1,
        .queues = (uint16_t)queues,
        .fds = fds != NULL ? fds + 1 : NULL,
        .bridge = spec_text(spec, "bridge"),
        .address = spec_text(spec, "address"),
        .mtu = (uint16_t)spec_number(spec, "mtu"),
        .log = log,
    };

    return vio_net_tap_open(&params, out, why, why_size);
}

static int open_socket(const struct spec *spec, const char *path, bool datagram, const struct vio_log *log,
                       struct vio_net_backend **out, char *why, size_t why_size)
{
    struct vio_net_socket_params params = {
        .path = path,
        .local = datagram ? spec_text(spec, "local") : NULL,
        .datagram = datagram,
        .listen = !datagram && spec_flag(spec, "listen"),
        .log = log,
    };

    return vio_net_socket_open(&params, out, why, why_size);
}

static int open_uplink(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                       char *why, size_t why_size)
{
    const char *of = spec_text(spec, "switch"), *by = switches_uplink_of(switches, of);
    struct vio_net_backend *backend;
    struct uplink uplink;
    int err = read_uplink(spec, &uplink, why, why_size);

    if (err < 0 || uplink.kind == NULL)
        return err;
    if (by != NULL) {
        (void)refuse(why, why_size, "switch %s has an uplink already, by %s: give uplink= on one of its devices", of, by);
        return -EBUSY;
    }
    if (strcmp(uplink.kind, "tap") == 0)
        err = open_tap(spec, uplink.name, NULL, 1, log, &backend, why, why_size);
    else if (strcmp(uplink.kind, "user") == 0)
        err = open_user(spec, log, &backend, why, why_size);
    else
        err = open_socket(spec, uplink.name, false, log, &backend, why, why_size);
    if (err < 0)
        return err;
    err = switches_set_uplink(switches, of, name, backend);
    if (err < 0) {
        vio_net_close(backend);
        (void)refuse(why, why_size, "switch %s cannot be given its uplink: %s", of, strerror(-err));
    }
    return err;
}

static int open_port(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                     struct vio_net_backend **out, char *why, size_t why_size)
{
    struct vio_net_port_params params = {
        .name = name,
        .isolated = spec_flag(spec, "isolated"),
        .vlan = (uint16_t)spec_number(spec, "vlan"),
    };
    struct vio_net_switch *sw;
    uint8_t mac[VIO_NET_MAC];
    int err = switches_find(switches, spec_text(spec, "switch"), &sw);

    if (spec_flag(spec, "fixed-mac")) {
        net_spec_mac(spec, name, mac);
        params.fixed_mac = mac;
    }
    if (err == 0)
        err = open_uplink(spec, name, log, switches, why, why_size);
    if (err == 0)
        err = vio_net_switch_port(sw, &params, out);
    if (err == -EEXIST)
        (void)refuse(why, why_size, "net: fixed-mac: another device of switch %s has the same mac=", spec_text(spec, "switch"));
    return err;
}

static int open_inner(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                      struct vio_net_backend **out, char *why, size_t why_size)
{
    const char *chosen = spec_chosen(spec);
    int fds[TAP_QUEUES_MAX];

    if (strcmp(chosen, "user") == 0)
        return open_user(spec, log, out, why, why_size);
    if (strcmp(chosen, "tap") == 0)
        return open_tap(spec, spec_text(spec, "tap"), NULL, net_lanes(spec), log, out, why, why_size);
    if (strcmp(chosen, "tapfd") == 0)
        return open_tap(spec, NULL, fds, read_fds(spec_text(spec, "tapfd"), fds), log, out, why, why_size);
    if (strcmp(chosen, "switch") == 0)
        return open_port(spec, name, log, switches, out, why, why_size);
    if (strcmp(chosen, "stream") == 0)
        return open_socket(spec, spec_text(spec, "stream"), false, log, out, why, why_size);
    if (strcmp(chosen, "dgram") == 0)
        return open_socket(spec, spec_text(spec, "dgram"), true, log, out, why, why_size);
    if (strcmp(chosen, "generate") == 0)
        return vio_net_generate_open((uint32_t)spec_number(spec, "generate"), out, why, why_size);
    if (strcmp(chosen, "echo") == 0)
        return vio_net_echo_open(out, why, why_size);
    return vio_net_null_open(spec_flag(spec, "copy"), out, why, why_size);
}

/* There is always something to capture with: it costs one load a burst while it does not, and may begin at any time. */
int net_backend_open(const struct spec *spec, const char *name, const struct vio_log *log, struct switches *switches,
                     struct vio_net_backend **out, char *why, size_t why_size)
{
    struct vio_net_backend *inner, *b;
    int err = open_inner(spec, name, log, switches, &inner, why, why_size);

    if (err < 0)
        return err;
    err = vio_net_capture_open(inner, name, log, &b);
    if (err < 0) {
        vio_net_close(inner);
        return err;
    }
    if (spec_given(spec, "capture"))
        err = vio_net_capture_set(b, spec_text(spec, "capture"), why, why_size);
    if (err < 0) {
        vio_net_close(b);
        return err;
    }
    *out = b;
    return 0;
}
