/* SPDX-License-Identifier: MIT */
/*
 * Purpose: which station (VLAN and address) is behind which port: a hash table of fixed size, four entries a
 * bucket and two buckets to choose from: half full, it still has a place for nearly everybody.
 * Where it sits: backend/, the switch's. Threads: the owner of all ports.
 * Trust: a guest invents addresses as fast as it can send. Each port has a cap; where buckets are full the port with the
 * most stations loses one, and never one that has no more than its share: who floods the table hurts nobody else.
 */
#include "backend/net_switch.h"

/* The two buckets that may have it. */
struct places {
    struct net_table_entry *bucket[2];
};

static struct places places_of(struct net_table *t, uint64_t key)
{
    uint64_t x = (key ^ t->seed[0]) * (t->seed[1] | 1);

    x ^= x >> 32;
    x *= t->seed[2] | 1;
    /* The highest bits are mixed best. */
    return (struct places){ { &t->entry[(x >> 54) % NET_TABLE_BUCKETS * NET_TABLE_WAYS],
                              &t->entry[(x >> 44) % NET_TABLE_BUCKETS * NET_TABLE_WAYS] } };
}

static struct net_table_entry *look_up(const struct places *p, uint64_t key)
{
    for (unsigned b = 0; b < 2; b++) {
        for (unsigned i = 0; i < NET_TABLE_WAYS; i++) {
            if (p->bucket[b][i].key == key)
                return &p->bucket[b][i];
        }
    }
    return NULL;
}

static bool aged(const struct net_table_entry *e, uint32_t now)
{
    return now - e->seen >= NET_TABLE_AGE;
}

static unsigned cap(uint16_t slot)
{
    return slot == NET_SWITCH_UPLINK ? NET_TABLE_UPLINK_MAX : NET_TABLE_PORT_MAX;
}

void net_table_drop(struct net_table *t, struct net_table_entry *e)
{
    t->stations[e->slot]--;
    e->key = 0;
}

int net_table_find(struct net_table *t, uint64_t key, uint32_t now)
{
    struct places p = places_of(t, key);
    const struct net_table_entry *e = look_up(&p, key);

    return !e || aged(e, now) ? -1 : e->slot;
}

/* So that what has aged does not count against anyone's cap or share. At most once a second. */
static void sweep(struct net_table *t, uint32_t now)
{
    struct net_table_entry *e = t->entry;

    if (t->swept == now)
        return;
    t->swept = now;
    for (unsigned i = 0; i < NET_TABLE_ENTRIES; i++, e++) {
        if (e->key && aged(e, now))
            net_table_drop(t, e);
    }
}

/* Whether `e` goes sooner than `best` (may be NULL): the richer port's, then the older. */
static bool goes_first(const struct net_table *t, const struct net_table_entry *e, const struct net_table_entry *best,
                       uint32_t now)
{
    if (!best)
        return true;
    if (t->stations[e->slot] != t->stations[best->slot])
        return t->stations[e->slot] > t->stations[best->slot];
    return now - e->seen > now - best->seen;
}

/* A free entry, in the emptier bucket; NULL: none. */
static struct net_table_entry *free_entry(struct net_table *t, const struct places *p, uint32_t now)
{
    struct net_table_entry *best = NULL;
    unsigned most = 0;

    for (unsigned b = 0; b < 2; b++) {
        struct net_table_entry *found = NULL;
        unsigned n = 0;

        for (unsigned i = 0; i < NET_TABLE_WAYS; i++) {
            struct net_table_entry *e = &p->bucket[b][i];

            if (e->key && aged(e, now))
                net_table_drop(t, e);
            if (!e->key) {
                found = e;
                n++;
            }
        }
        if (n > most) {
            most = n;
            best = found;
        }
    }
    return best;
}

/* An entry that makes room for a station of this port; NULL: none. full: only one of its own. */
static struct net_table_entry *victim(const struct net_table *t, const struct places *p, uint16_t slot, bool full, uint32_t now)
{
    struct net_table_entry *own = NULL, *others = NULL;
    unsigned mine = t->stations[slot];

    for (unsigned i = 0; i < 2 * NET_TABLE_WAYS; i++) {
        struct net_table_entry *e = &p->bucket[i / NET_TABLE_WAYS][i % NET_TABLE_WAYS];

        if (!e->key)
            continue;
        if (e->slot == slot) {
            if (goes_first(t, e, own, now))
                own = e;
        } else if (t->stations[e->slot] > mine && t->stations[e->slot] > NET_TABLE_SHARE) {
            if (goes_first(t, e, others, now))
                others = e;
        }
    }
    return others && !full ? others : own;
}

static struct net_table_entry *place(struct net_table *t, const struct places *p, uint16_t slot, uint32_t now)
{
    struct net_table_entry *e;

    if (t->stations[slot] >= cap(slot))
        sweep(t, now);
    e = free_entry(t, p, now); /* throws out what has aged: before the cap is looked at */
    if (t->stations[slot] >= cap(slot))
        return victim(t, p, slot, true, now);
    return e ? e : victim(t, p, slot, false, now);
}

enum net_table_learned net_table_learn(struct net_table *t, uint64_t key, uint16_t slot, uint32_t now)
{
    struct places p = places_of(t, key);
    struct net_table_entry *e = look_up(&p, key);
    enum net_table_learned how = NET_TABLE_NEW;

    if (e && e->slot == slot) {
        e->seen = now;
        return NET_TABLE_KNOWN;
    }
    if (e) {
        /* Away from the old port in any case: a station that is flooded is reached, one in the wrong place is not. */
        how = aged(e, now) ? NET_TABLE_NEW : NET_TABLE_MOVED;
        net_table_drop(t, e);
    }
    e = place(t, &p, slot, now);
    if (!e)
        return NET_TABLE_FULL;
    if (e->key)
        net_table_drop(t, e);
    *e = (struct net_table_entry){ .key = key, .seen = now, .slot = slot };
    t->stations[slot]++;
    return how;
}

void net_table_forget(struct net_table *t, uint16_t slot)
{
    struct net_table_entry *e = t->entry;

    for (unsigned i = 0; i < NET_TABLE_ENTRIES; i++, e++) {
        if (e->key && e->slot == slot)
            net_table_drop(t, e);
    }
}
