/* SPDX-License-Identifier: MIT */
/* Purpose: see world.h: stop and resume, crash and recovery, reset, migration by the dirty log, a map that changes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/world.h"

/* A save file's or a transport's form of the state, there and back. */
static struct vio_queue_state through_u32(const struct world *w, struct vio_queue_state state)
{
    struct vio_queue_state back;

    vio_queue_state_unpack(&back, w->cfg.packed, vio_queue_state_pack(&state, w->cfg.packed));
    CHECK(back.avail_idx == state.avail_idx && back.avail_wrap == state.avail_wrap);
    if (w->cfg.packed)
        CHECK(back.used_known && back.used_idx == state.used_idx && back.used_wrap == state.used_wrap);
    return back;
}

static void restart(struct world *w)
{
    struct vio_queue_state state;
    bool drained;

    world_complete_all(w);
    world_stop_dev(w, &state);
    /* Unless the record still names some that nobody took again after a crash. */
    drained = state.avail_idx == state.used_idx && state.avail_wrap == state.used_wrap;
    CHECK(drained || (w->cfg.inflight && w->result.crashes > 0));
    state = through_u32(w, state);
    world_start_dev(w, &state, drained && rng_below(&w->rng, 2) == 0);
    w->result.restarts++;
}

/* The process is gone, with what it had taken and what it had put and not published. */
static void crash(struct world *w)
{
    struct vio_queue_state stale;

    /* What a front-end knows then: nothing. */
    vio_queue_state_unpack(&stale, w->cfg.packed, w->cfg.packed ? 0x80008000u : 0);
    queue_mem_free(w->dev_mem, w->dev_bytes);
    for (struct world_buf *b = w->newest; b != NULL; b = b->older) {
        b->state = BUF_AVAIL;
        w->fifo_head = (w->fifo_head + w->fifo_room - 1) % w->fifo_room;
        w->fifo[w->fifo_head] = (uint32_t)(b - w->buf);
        w->fifo_nr++;
    }
    w->oldest = w->newest = NULL;
    w->nr_held = 0;
    w->nr_put = 0;
    w->unpublished = false;
    world_start_dev(w, &stale, false);
    w->result.crashes++;
}

/* The driver resets the queue: every buffer in flight is its own again, once. */
static void reset(struct world *w)
{
    struct vio_queue_state state;
    uint64_t token;
    uint32_t count = 0;

    world_stop_dev(w, &state);
    world_rewind(w);
    while (vio_drvq_detach(w->drv, &token)) {
        struct world_buf *b = &w->buf[token % 65536];

        CHECK(b->token == token && b->state >= BUF_AVAIL);
        world_forget(w, b);
        count++;
        CHECK(count <= w->cfg.size);
    }
    CHECK(w->nr_idle == w->cfg.size && w->slots == 0 && vio_drvq_in_flight(w->drv) == 0);
    w->fifo_head = w->fifo_nr = w->nr_held = w->nr_put = w->nr_used = 0;
    w->oldest = w->newest = NULL;
    w->unpublished = false;
    w->pub_idx = 0;
    w->pub_wrap = w->cfg.packed;
    w->pub_units = 0;
    /* What the device had written into buffers that never came back is anything. */
    guest_read(w->guest, w->guest->payload, w->shadow, w->cfg.payload);
    world_start_drv(w, NULL);
    state = vio_queue_state_initial(w->cfg.packed);
    world_start_dev(w, &state, true);
    w->result.resets++;
}

static void remap(struct world *w)
{
    world_complete_all(w);
    guest_remap(w->guest, &w->rng);
    CHECK(vio_devq_map_changed(w->dev) == VIO_FAULT_NONE);
    w->result.remaps++;
}

/* ------------------------------------------------------------------ migration */

static uint64_t pages(const struct world *w)
{
    return (w->guest->end + 4095) / 4096;
}

static void migrate_begin(struct world *w)
{
    uint64_t bytes = w->guest->end - GUEST_BASE;

    world_complete_all(w);
    w->log_bytes = (pages(w) + 7) / 8;
    w->log_fd = memfd_create("log", 0);
    if (w->log_fd < 0 || ftruncate(w->log_fd, (off_t)(w->log_bytes + 100)) != 0)
        FAIL("no memory for the log");
    w->log = mmap(NULL, w->log_bytes + 100, PROT_READ | PROT_WRITE, MAP_SHARED, w->log_fd, 0);
    if (w->log == MAP_FAILED)
        FAIL("no memory for the log");
    if (vio_memory_log_set(w->guest->memory, w->log_fd, 100, w->log_bytes) != 0)
        FAIL("the log is refused");
    vio_memory_log_enable(w->guest->memory, true);
    w->next = guest_clone(w->guest);
    w->before = malloc(bytes);
    w->after = malloc(bytes);
    w->by_device = calloc(pages(w), 1);
    w->by_driver = calloc(pages(w), 1);
    if (w->before == NULL || w->after == NULL || w->by_device == NULL || w->by_driver == NULL)
        FAIL("out of memory");
    w->logging = true;
    w->log_steps = rng_range(&w->rng, 1, 120);
}

void world_log_before(struct world *w)
{
    guest_image(w->guest, w->before);
}

void world_log_after(struct world *w, bool device)
{
    uint64_t bytes = w->guest->end - GUEST_BASE;

    guest_image(w->guest, w->after);
    for (uint64_t at = 0; at < bytes; at += 4096) {
        uint64_t n = vio_min_u64(4096, bytes - at);

        if (memcmp(w->before + at, w->after + at, n) != 0)
            (device ? w->by_device : w->by_driver)[(GUEST_BASE + at) / 4096] = 1;
    }
}

/* Copies what is marked, and what the driver's processor wrote; then the two memories must be the same. */
static void copy_dirty(struct world *w)
{
    uint64_t bytes = w->guest->end - GUEST_BASE;
    uint8_t page[4096];

    for (uint64_t p = 0; p < pages(w); p++) {
        bool dirty = (w->log[100 + p / 8] >> (p % 8) & 1) != 0;

        if (w->by_device[p] && !dirty)
            FAIL("the device changed page %llx and did not mark it", (unsigned long long)p);
        if (!dirty && !w->by_driver[p])
            continue;
        w->result.pages++;
        for (uint32_t i = 0; i < w->guest->nr_block; i++) {
            const struct guest_block *b = &w->guest->block[i];
            uint64_t from = b->gpa > p * 4096 ? b->gpa : p * 4096;
            uint64_t to = vio_min_u64(b->gpa + b->size, p * 4096 + 4096);

            if (from >= to)
                continue;
            guest_read(w->guest, from, page, to - from);
            guest_write(w->next, from, page, to - from);
        }
    }
    guest_image(w->guest, w->before);
    guest_image(w->next, w->after);
    if (memcmp(w->before, w->after, bytes) != 0)
        FAIL("the memories differ after the copy");
}

/* The other machine: same addresses, other memory, no record. */
static void migrate_end(struct world *w)
{
    struct vio_queue_state state, drv;
    struct guest *old = w->guest;
    uint8_t *device = calloc(1, w->guest->end - GUEST_BASE);

    if (device == NULL)
        FAIL("out of memory");
    world_log_before(w);
    world_complete_all(w);
    world_log_after(w, true);
    world_log_before(w);
    world_rewind(w);
    world_collect_all(w);
    world_log_after(w, false);
    free(device);
    if (w->fifo_nr > 0) { /* the driver can't move with buffers on the way: let them be served first */
        w->log_steps = 10;
        return;
    }
    world_stop_dev(w, &state);
    copy_dirty(w);
    drv = vio_drvq_state(w->drv);
    vio_memory_log_enable(old->memory, false);
    memcpy(w->next->granule, old->granule, old->granules);
    w->next->cursor = old->cursor;
    w->guest = w->next;
    w->next = NULL;
    guest_destroy(old);
    munmap(w->log, w->log_bytes + 100);
    close(w->log_fd);
    free(w->before);
    free(w->after);
    free(w->by_device);
    free(w->by_driver);
    w->logging = false;
    world_start_drv(w, &drv);
    state = through_u32(w, state);
    world_start_dev(w, &state, true);
    w->result.migrations++;
}

bool world_trouble(struct world *w)
{
    const struct world_cfg *c = &w->cfg;

    if (w->logging) {
        if (w->log_steps > 0 && --w->log_steps > 0)
            return false;
        migrate_end(w);
        return true;
    }
    if (c->restart > 0 && rng_permille(&w->rng, c->restart))
        restart(w);
    else if (c->crash > 0 && rng_permille(&w->rng, c->crash))
        crash(w);
    else if (c->reset > 0 && rng_permille(&w->rng, c->reset))
        reset(w);
    else if (c->remap > 0 && rng_permille(&w->rng, c->remap))
        remap(w);
    else if (c->migrate > 0 && rng_permille(&w->rng, c->migrate))
        migrate_begin(w);
    else
        return false;
    return true;
}
