/* SPDX-License-Identifier: MIT */
/*
 * Purpose: addresses that are fixed to a port: nobody else may send from them, also while that port does not run.
 * Where it sits: backend/, the switch's. Threads: set and clear are the control thread's, the rest the owner's of all
 * ports. The control thread's list is atomic, and a count of its changes makes the owner build its own table anew.
 * Trust: who is fixed to what is the administrator's word; that one address has one port is checked here.
 */
#include "backend/net_switch.h"

#define MAC_BITS 48

static uint64_t mac_of(uint64_t key)
{
    return key & ((UINT64_C(1) << MAC_BITS) - 1);
}

static uint16_t vlan_of(uint64_t key)
{
    return (uint16_t)(key >> MAC_BITS & 0x7fff);
}

/* Whether frames of one and of the other may be of one VLAN: a trunk (0) has them all. */
static bool same_station(uint64_t a, uint64_t b)
{
    return mac_of(a) == mac_of(b) && (vlan_of(a) == vlan_of(b) || vlan_of(a) == 0 || vlan_of(b) == 0);
}

static unsigned place_of(uint64_t key)
{
    return (unsigned)(mac_of(key) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % NET_PINS_PLACES;
}

/* ------------------------------------------------------------------ the control thread */

int net_pins_set(struct net_pins *p, uint16_t slot, uint64_t key)
{
    for (uint16_t i = 0; i < NET_SWITCH_PORTS_MAX; i++) {
        uint64_t other = atomic_load_explicit(&p->key[i], memory_order_relaxed);

        if (other != 0 && same_station(other, key))
            return i;
    }
    atomic_store_explicit(&p->key[slot], key, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->changes, 1, memory_order_release); /* pairs with net_pins_look() */
    return -1;
}

void net_pins_clear(struct net_pins *p, uint16_t slot)
{
    if (atomic_load_explicit(&p->key[slot], memory_order_relaxed) == 0)
        return;
    atomic_store_explicit(&p->key[slot], 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->changes, 1, memory_order_release);
}

/* ------------------------------------------------------------------ the owner */

void net_pins_rebuild(struct net_pins *p, struct net_table *t)
{
    /* A change from now on is another one: what is read below may have it already. */
    p->seen = atomic_load_explicit(&p->changes, memory_order_acquire);
    p->nr = 0;
    for (unsigned i = 0; i < NET_PINS_PLACES; i++)
        p->place[i].key = 0;
    for (uint16_t slot = 0; slot < NET_SWITCH_PORTS_MAX; slot++) {
        uint64_t key = atomic_load_explicit(&p->key[slot], memory_order_relaxed);
        unsigned at = place_of(key);

        if (key == 0)
            continue;
        while (p->place[at].key != 0)
            at = (at + 1) % NET_PINS_PLACES;
        p->place[at].key = key;
        p->place[at].slot = slot;
        p->nr++;
    }
    /* Whoever was heard from such an address before it was fixed. */
    for (struct net_table_entry *e = t->entry; p->nr > 0 && e < t->entry + NET_TABLE_ENTRIES; e++) {
        int slot = e->key ? net_pins_find(p, e->key) : -1;

        if (slot >= 0 && slot != e->slot)
            net_table_drop(t, e);
    }
}

int net_pins_find(const struct net_pins *p, uint64_t key)
{
    if (p->nr == 0)
        return -1;
    /* Half of the places are empty: it ends. */
    for (unsigned at = place_of(key); p->place[at].key != 0; at = (at + 1) % NET_PINS_PLACES)
        if (p->place[at].key == key || (vlan_of(p->place[at].key) == 0 && mac_of(p->place[at].key) == mac_of(key)))
            return p->place[at].slot;
    return -1;
}
