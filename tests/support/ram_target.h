/* SPDX-License-Identifier: MIT */
/*
 * Purpose: a SCSI target of one disk in memory, for tests of the SCSI driver: what a host and its unit answer, small but to the
 * letter. Threads: one.
 */
#ifndef VIO_TESTS_RAM_TARGET_H
#define VIO_TESTS_RAM_TARGET_H

#include "script_device.h"

enum { RAM_BLOCK = 512, RAM_BLOCKS = 4096, RAM_TARGET = 3, RAM_LUN = 1 };

struct ram_target {
    uint8_t bytes[RAM_BLOCK * RAM_BLOCKS];
    unsigned attentions;     /* so many commands find a unit attention first */
    unsigned flushes, unmaps, commands;
    uint64_t blocks;         /* as capacities say; 0: RAM_BLOCKS */
    bool no_capacity_16;
    uint32_t tmf, tmf_subtype, async;
    uint64_t last_id, tmf_id;
    /* How it lies about every command, where not 0. */
    uint32_t sense_len, residual;
    uint8_t response, status;
    bool silent;             /* it writes nothing at all */
    size_t cut;              /* answers end after so many bytes */
};

/* As script.serve, with s->ctx a struct ram_target. */
size_t ram_target_serve(struct script *s, uint16_t queue, const uint8_t *in, size_t n, uint8_t *out, size_t max);

#endif
