/* SPDX-License-Identifier: MIT */
/*
 * Purpose: see cli/guard.h.
 * The handler finds the mapping in /proc/self/maps, not in our own tables: those belong to other threads, and the
 * kernel's answer is never stale. All that it calls is async-signal-safe. It replaces the mapping from the lost page
 * to its end: what lies behind the end of a truncated file is lost as well, and a fault for each page would split the
 * mapping until no more were possible.
 */
#include "cli/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/loop.h"

enum { LOST_MAX = 64 }; /* remembered for the log; more in one go are handled, and not named */

static struct loop *poked;
static _Atomic(uintptr_t) lost[LOST_MAX]; /* 0: free */
static atomic_uint faults;

struct mapping {
    uintptr_t start, end;
    bool writable, shared;
    bool of_file;
};

/* One line of maps, "start-end rwxs offset device inode name", read byte by byte as it comes. */
struct line_reader {
    struct mapping now;
    enum { START, END, PERMISSIONS, OFFSET, DEVICE, INODE, NAME } field;
    unsigned column; /* of the permissions */
};

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* True at the end of a line: r->now is whole. */
static bool take_char(struct line_reader *r, char c)
{
    if (c == '\n')
        return true;
    if (c == (r->field == START ? '-' : ' ')) {
        if (r->field < NAME)
            r->field++;
    } else if (r->field == START) {
        r->now.start = r->now.start << 4 | hex_digit(c);
    } else if (r->field == END) {
        r->now.end = r->now.end << 4 | hex_digit(c);
    } else if (r->field == PERMISSIONS) {
        r->now.writable |= r->column == 1 && c == 'w';
        r->now.shared |= r->column == 3 && c == 's';
        r->column++;
    } else if (r->field == INODE) {
        r->now.of_file |= c != '0';
    }
    return false;
}

static bool find_mapping(uintptr_t address, struct mapping *found)
{
    struct line_reader r = { .field = START };
    char buf[1024];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    bool there = false;
    ssize_t n;

    if (fd < 0)
        return false;
    while (!there && ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))) {
        for (ssize_t i = 0; i < n && !there; i++) {
            if (!take_char(&r, buf[i]))
                continue;
            there = address >= r.now.start && address < r.now.end;
            if (there)
                *found = r.now;
            r = (struct line_reader){ .field = START };
        }
    }
    close(fd);
    return there;
}

/* Huge pages are replaced whole; the size of the mapping's pages is found by trying. */
static bool replace(uintptr_t address, const struct mapping *m)
{
    static const uintptr_t sizes[] = { 4096, 65536, UINT64_C(2) << 20, UINT64_C(1) << 30 };

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uintptr_t from = address & ~(sizes[i] - 1);

        if (from < m->start)
            from = m->start;
        /* The plain call: a sanitizer's mmap would count as a write of ours to all of it. */
        if (syscall(SYS_mmap, from, m->end - from, PROT_READ | (m->writable ? PROT_WRITE : 0),
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0L) != -1)
            return true;
    }
    return false;
}

static void remember(uintptr_t address)
{
    for (unsigned i = 0; i < LOST_MAX; i++) {
        uintptr_t nothing = 0;

        /* release: pairs with the exchange in guard_take() */
        if (atomic_compare_exchange_strong_explicit(&lost[i], &nothing, address, memory_order_release,
                                                    memory_order_relaxed))
            break;
    }
    loop_poke(poked);
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    int saved = errno;
    struct mapping m;

    (void)context;
    if (info->si_code <= 0 || !find_mapping(address, &m)) {
        signal(signal_number, SIG_DFL); /* the instruction faults again, and ends the process with a core */
    } else if (m.shared && m.of_file) {
        /* Before: who copied from what replaces it, and then looks at the count, must see that. */
        atomic_fetch_add(&faults, 1);
        if (replace(address, &m))
            remember(address);
        else
            signal(signal_number, SIG_DFL);
    } else if (m.of_file || info->si_code != BUS_ADRERR) {
        signal(signal_number, SIG_DFL);
    } /* else another thread that faulted here has replaced it already: try again */
    errno = saved;
}

int guard_install(struct loop *loop)
{
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

    poked = loop;
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGBUS);
    sigdelset(&action.sa_mask, SIGSEGV);
    return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

const atomic_uint *guard_faults(void)
{
    return &faults;
}

bool guard_take(uintptr_t *address)
{
    for (unsigned i = 0; i < LOST_MAX; i++) {
        *address = atomic_exchange_explicit(&lost[i], 0, memory_order_acquire);
        if (*address != 0)
            return true;
    }
    return false;
}
