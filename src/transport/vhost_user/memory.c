/* SPDX-License-Identifier: MIT */
/*
 * Purpose: the guest's memory as the front-end shares it: the table of regions, single regions, IOTLB entries, and the
 * dirty log. Where it sits: transport/vhost_user.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "transport/vhost_user/session.h"

void vu_memory_end(struct vu_session *s)
{
    struct vio_memory *memory = vio_device_memory(s->dev);

    vio_device_memory_begin(s->dev, true);
    vio_memory_log_enable(memory, false);
    vio_memory_iotlb_enable(memory, false);
    vio_memory_clear(memory);
    vio_device_memory_end(s->dev);
    s->nr_region = 0;
    memset(s->removed, 0, sizeof(s->removed));
}

/* ------------------------------------------------------------------ private memory */

/*
 * Whether the front-end has mapped this file and every time privately: then the guest's writes never reach it, and all
 * that we would see of the queues is zeroes. What /proc does not tell is no reason to refuse.
 */
static bool mapped_privately(const struct vu_session *s, const struct stat *st)
{
    char path[64], line[512];
    bool mapped = false, shared = false;
    FILE *file;

    if (s->pid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%ld/maps", (long)s->pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!shared && fgets(line, sizeof(line), file) != NULL) {
        unsigned maj, min;
        unsigned long long ino;
        char perms[5];

        if (sscanf(line, "%*x-%*x %4s %*x %x:%x %llu", perms, &maj, &min, &ino) != 4)
            continue;
        if (ino != st->st_ino || makedev(maj, min) != st->st_dev)
            continue;
        mapped = true;
        shared = perms[3] == 's';
    }
    fclose(file);
    return mapped && !shared;
}

static int check_shared(struct vu_session *s, int fd, struct stat *st)
{
    if (fstat(fd, st) != 0)
        return vu_refuse(s, -errno, "its descriptor cannot be used: %s", strerror(errno));
    if (s->shared_seen.dev == st->st_dev && s->shared_seen.ino == st->st_ino)
        return 0;
    if (mapped_privately(s, st))
        return vu_refuse(s, -EINVAL, "the guest's memory is private to %s, so nothing that the guest writes would arrive here: "
                         "in QEMU, add share=on to the guest's memory backend", s->who);
    s->shared_seen = (struct vu_file){ st->st_dev, st->st_ino };
    return 0;
}

/* ------------------------------------------------------------------ regions */

static struct vio_memory_region region_of(const struct vhost_user_region *r)
{
    return (struct vio_memory_region){ .gpa = r->guest_addr, .size = r->size, .uva = r->user_addr };
}

static bool same_place(const struct vio_memory_region *a, const struct vio_memory_region *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->uva == b->uva;
}

static bool ranges_meet(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size)
{
    return a - b < b_size || b - a < a_size;
}

static int say_overlap(struct vu_session *s, const struct vio_memory_region *r)
{
    for (unsigned i = 0; i < s->nr_region; i++) {
        const struct vio_memory_region *o = &s->region[i].at;
        bool guest = ranges_meet(r->gpa, o->gpa, r->size, o->size);

        if (guest || ranges_meet(r->uva, o->uva, r->size, o->size))
            return vu_refuse(s, -EEXIST, "the region at %s address 0x%" PRIx64 ", %" PRIu64 " bytes, overlaps the one at 0x%"
                             PRIx64 ", %" PRIu64 " bytes; regions never may", guest ? "guest" : "user",
                             guest ? r->gpa : r->uva, r->size, guest ? o->gpa : o->uva, o->size);
    }
    return vu_refuse(s, -EEXIST, "the region at guest address 0x%" PRIx64 " overlaps another", r->gpa);
}

static int say_not_added(struct vu_session *s, const struct vu_region *r, const struct stat *st, int err)
{
    switch (err) {
    case -EINVAL:
        return vu_refuse(s, err, "the region at guest address 0x%" PRIx64 " has 0x%" PRIx64 " bytes from offset 0x%" PRIx64
                         ": it is empty, or runs past the end of the address space", r->at.gpa, r->at.size, r->offset);
    case -EEXIST:
        return say_overlap(s, &r->at);
    case -ENOSPC:
        return vu_refuse(s, err, "there are %u regions already, as many as GET_MAX_MEM_SLOTS allows", s->nr_region);
    case -ENXIO:
        return vu_refuse(s, err, "the region at guest address 0x%" PRIx64 " ends at byte %" PRIu64 " of a file of %lld bytes",
                         r->at.gpa, r->offset + r->at.size, (long long)st->st_size);
    case -ENODEV:
    case -EACCES:
        return vu_refuse(s, err, "the descriptor of the region at guest address 0x%" PRIx64
                         " cannot be mapped for reading and writing: %s", r->at.gpa, strerror(-err));
    case -ENOMEM:
        return vu_refuse(s, err, "no room to map the region at guest address 0x%" PRIx64 ", %" PRIu64
                         " bytes: huge pages that are not there, the limit of mappings (vm.max_map_count) or of address "
                         "space (ulimit -v)", r->at.gpa, r->at.size);
    default:
        return vu_refuse(s, err, "the region at guest address 0x%" PRIx64 " cannot be mapped: %s", r->at.gpa,
                         strerror(-err));
    }
}

/* Between memory_begin and memory_end. fd stays the caller's. */
static int add(struct vu_session *s, const struct vhost_user_region *region, int fd)
{
    struct vu_region r = { .at = region_of(region), .offset = region->mmap_offset };
    struct stat st = { 0 };
    int err = check_shared(s, fd, &st);

    if (err != 0)
        return err;
    err = s->nr_region < VU_SLOTS ? vio_memory_add(vio_device_memory(s->dev), &r.at, fd, r.offset) : -ENOSPC;
    if (err != 0)
        return say_not_added(s, &r, &st, err);
    r.file = (struct vu_file){ st.st_dev, st.st_ino };
    s->region[s->nr_region++] = r;
    return 0;
}

static int drop(struct vu_session *s, unsigned i)
{
    int err = vio_memory_remove(vio_device_memory(s->dev), &s->region[i].at);

    s->region[i] = s->region[--s->nr_region];
    return err;
}

/* ------------------------------------------------------------------ SET_MEM_TABLE */

/* The index in the new table of a region that is mapped already, or -1. */
static int stays(const struct vu_region *old, const struct vhost_user_mem_table *table, const struct vu_msg *m)
{
    for (uint32_t i = 0; i < table->nregions; i++) {
        struct vio_memory_region at = region_of(&table->region[i]);
        struct stat st;

        if (same_place(&old->at, &at) && old->offset == table->region[i].mmap_offset && fstat(m->fd[i], &st) == 0 &&
            st.st_dev == old->file.dev && st.st_ino == old->file.ino)
            return (int)i;
    }
    return -1;
}

static int replace_table(struct vu_session *s, const struct vhost_user_mem_table *table, const struct vu_msg *m)
{
    bool there[VHOST_USER_TABLE_REGIONS] = { false };
    int err = 0;

    for (unsigned i = s->nr_region; i > 0; i--) {
        int at = stays(&s->region[i - 1], table, m);

        if (at >= 0)
            there[at] = true;
        else if (err == 0)
            err = drop(s, i - 1);
    }
    for (uint32_t i = 0; err == 0 && i < table->nregions; i++)
        err = there[i] ? 0 : add(s, &table->region[i], m->fd[i]);
    if (err == 0)
        return 0;
    /* Half a table would only fail later, and less clearly. Requests in flight may use what goes: drained first. */
    vio_device_memory_begin(s->dev, true);
    vio_memory_clear(vio_device_memory(s->dev));
    vio_device_memory_end(s->dev);
    s->nr_region = 0;
    return err;
}

int vu_set_mem_table(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_mem_table *table = (const void *)m->payload;
    bool goes = false;
    int err;

    for (unsigned i = 0; i < s->nr_region; i++) {
        if (stays(&s->region[i], table, m) >= 0)
            continue;
        goes = true;
        vu_vring_lose(s, s->region[i].at.uva, s->region[i].at.size);
    }
    vio_device_memory_begin(s->dev, goes);
    err = replace_table(s, table, m);
    vio_device_memory_end(s->dev);
    if (err == 0)
        vu_vring_start_lost(s);
    return err;
}

/* ------------------------------------------------------------------ single regions */

int vu_get_max_mem_slots(struct vu_session *s, struct vu_msg *m)
{
    vu_reply_u64(s, m, VU_SLOTS);
    return VU_LATER;
}

/* QEMU (7.2 at least) has a list of its own for each pair of a network card, and says every change once a list. */
static bool added_before(struct vu_session *s, const struct vhost_user_region *region, int fd)
{
    struct vio_memory_region at = region_of(region);
    struct stat st;

    for (unsigned i = 0; i < s->nr_region; i++) {
        struct vu_region *r = &s->region[i];

        if (!same_place(&r->at, &at) || r->offset != region->mmap_offset || fstat(fd, &st) != 0 ||
            st.st_dev != r->file.dev || st.st_ino != r->file.ino)
            continue;
        r->again++;
        return true;
    }
    return false;
}

int vu_add_mem_reg(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_mem_reg *reg = (const void *)m->payload;
    int err;

    if (added_before(s, &reg->region, m->fd[0]))
        return 0;
    vio_device_memory_begin(s->dev, false);
    err = add(s, &reg->region, m->fd[0]);
    vio_device_memory_end(s->dev);
    if (err == 0)
        vu_vring_start_lost(s);
    return err;
}

/*
 * The first removal counts, for what comes instead may overlap it; those of the other lists that had it are awaited.
 */
static void mind_gone(struct vu_session *s, const struct vu_region *r)
{
    if (r->again > 0)
        s->removed[s->nr_removed++ % VU_GONE] = (struct vu_gone_region){ .at = r->at, .again = r->again };
}

static bool removed_before(struct vu_session *s, const struct vio_memory_region *at)
{
    for (unsigned i = 0; i < VU_GONE; i++) {
        if (s->removed[i].again == 0 || !same_place(&s->removed[i].at, at))
            continue;
        s->removed[i].again--;
        return true;
    }
    return false;
}

int vu_rem_mem_reg(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_mem_reg *reg = (const void *)m->payload;
    struct vio_memory_region at = region_of(&reg->region);
    unsigned i = 0;
    int err;

    while (i < s->nr_region && !same_place(&s->region[i].at, &at))
        i++;
    if (i == s->nr_region && removed_before(s, &at))
        return 0;
    if (i == s->nr_region)
        return vu_refuse(s, -ENOENT, "there is no region of guest address 0x%" PRIx64 ", user address 0x%" PRIx64 " and %"
                         PRIu64 " bytes", at.gpa, at.uva, at.size);
    vu_vring_lose(s, at.uva, at.size);
    mind_gone(s, &s->region[i]);
    vio_device_memory_begin(s->dev, true);
    err = drop(s, i);
    vio_device_memory_end(s->dev);
    return err == 0 ? 0 : vu_refuse(s, err, "the region cannot be removed: %s", strerror(-err));
}

/* ------------------------------------------------------------------ dirty log */

int vu_set_log_base(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_log *log = (const void *)m->payload;
    int err;

    vio_device_memory_begin(s->dev, false);
    err = vio_memory_log_set(vio_device_memory(s->dev), m->fd[0], log->offset, log->size);
    vio_device_memory_end(s->dev);
    if (err != 0)
        return vu_refuse(s, err, "the log of %" PRIu64 " bytes at offset %" PRIu64 " of its file cannot be mapped: %s",
                         log->size, log->offset, err == -ENXIO ? "the file is shorter" : strerror(-err));
    vu_reply_u64(s, m, 0);
    return VU_LATER;
}

int vu_set_log_fd(struct vu_session *s, struct vu_msg *m)
{
    (void)s;
    (void)m; /* "it may be used": nobody was found who waits for it; it is closed with the message */
    return 0;
}

/* ------------------------------------------------------------------ IOMMU */

int vu_iotlb_msg(struct vu_session *s, struct vu_msg *m)
{
    const struct vhost_user_iotlb *e = (const void *)m->payload;
    struct vio_memory *memory = vio_device_memory(s->dev);
    int err;

    switch (e->type) {
    case VHOST_USER_IOTLB_UPDATE:
        if (e->perm == 0 || e->perm > VIO_ACCESS_BOTH)
            return vu_refuse(s, -EINVAL, "an update with the permissions %u instead of 1 to 3", e->perm);
        vio_device_memory_begin(s->dev, false);
        err = vio_memory_iotlb_update(memory, e->iova, e->size, e->uaddr, (enum vio_access)e->perm);
        vio_device_memory_end(s->dev);
        break;
    case VHOST_USER_IOTLB_INVALIDATE:
        vio_device_memory_begin(s->dev, true);
        err = vio_memory_iotlb_invalidate(memory, e->iova, e->size);
        vio_device_memory_end(s->dev);
        break;
    default:
        return vu_refuse(s, -EINVAL, "its type is %u instead of 2 (update) or 3 (invalidate)", e->type);
    }
    if (err != 0)
        return vu_refuse(s, err, "the mapping of 0x%" PRIx64 ", %" PRIu64 " bytes, to user address 0x%" PRIx64
                         " cannot be %s: %s", e->iova, e->size, e->uaddr,
                         e->type == VHOST_USER_IOTLB_UPDATE ? "made" : "ended",
                         err == -EFAULT ? "it is in no memory region" : strerror(-err));
    vu_reply_u64(s, m, 0);
    return VU_LATER;
}
