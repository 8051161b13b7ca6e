/* SPDX-License-Identifier: MIT */
/*
 * The whole world that the freestanding part of vio is linked with, beside the four functions of examples/baremetal/libc: an
 * entry that sends buffers from a driver to a device and back, over a split and over a packed ring.
 */
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <vio/queue.h>

#include "memory/map.h"

void vio_test_start(void);

/* ------------------------------------------------------------------ one buffer there and back */

enum { SIZE = 8, ROUNDS = 3 * SIZE };

static struct {
    alignas(4096) uint8_t desc[SIZE * 16];
    alignas(64) uint8_t driver[64];
    alignas(64) uint8_t device[128];
    uint32_t question;
    uint32_t answer;
} shared;

/* One of each for split and packed; a queue reserves far more of the device's than it touches. */
static alignas(64) uint8_t driver_bytes[2][16384];
static alignas(64) uint8_t device_bytes[2][80 << 20];

/* The device's part: each answer is its question turned round. */
static bool serve(struct vio_devq *q)
{
    struct vio_req *req;
    uint32_t word;

    if (vio_devq_take(q, &req, 1) != 1 || !vio_reader_get(&req->in, &word, sizeof(word)))
        return false;
    word = ~word;
    if (!vio_writer_put(&req->out, &word, sizeof(word)))
        return false;
    vio_devq_put(q, req);
    (void)!vio_devq_publish(q); /* nobody sleeps here */
    return true;
}

static bool ask(struct vio_drvq *driver, struct vio_devq *device, uint32_t question)
{
    const struct vio_buf buf[2] = { { (uintptr_t)&shared.question, 4 }, { (uintptr_t)&shared.answer, 4 } };
    struct vio_done done;

    shared.question = question;
    shared.answer = 0;
    if (vio_drvq_put(driver, buf, 1, 1, question) != 0)
        return false;
    (void)!vio_drvq_publish(driver);
    return serve(device) && vio_drvq_collect(driver, &done, 1) == 1 && done.token == question && done.len == 4 &&
           shared.answer == ~question;
}

static bool run(bool packed)
{
    const struct vio_span span = {
        .start = (uintptr_t)&shared, .last = (uintptr_t)&shared + sizeof(shared) - 1,
        .host_ = (uint8_t *)&shared, .gpa = (uintptr_t)&shared, .uva = (uintptr_t)&shared,
        .access = VIO_ACCESS_BOTH,
    };
    const struct vio_map map = { .span = &span, .nr = 1, .region = &span, .nr_region = 1 };
    struct vio_features features = vio_features_of(0);
    struct vio_queue_cfg cfg = {
        .size = SIZE, .ready = true, .desc = (uintptr_t)shared.desc, .driver = (uintptr_t)shared.driver,
        .device = (uintptr_t)shared.device, .state = vio_queue_state_initial(packed),
    };
    struct vio_drvq_params ours = {
        .size = SIZE, .desc = shared.desc, .driver = shared.driver, .device = shared.device,
    };
    struct vio_devq_params theirs = { .cfg = &cfg, .map = &map };
    struct vio_drvq *driver;
    struct vio_devq *device;

    vio_features_set(&features, 32); /* VERSION_1 */
    if (packed)
        vio_features_set(&features, 34);
    ours.features = theirs.features = features;
    if (vio_drvq_bytes(&ours) > sizeof(driver_bytes[0]) || vio_devq_bytes(&theirs) > sizeof(device_bytes[0]) ||
        vio_drvq_start(driver_bytes[packed], &ours, &driver) != 0 ||
        vio_devq_start(device_bytes[packed], &theirs, &device) != VIO_FAULT_NONE)
        return false;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        if (!ask(driver, device, i))
            return false;
    }
    return true;
}

/* No C library: the one system call that says how it went. */
static void leave(long code)
{
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(60L), "D"(code) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = 93;
    register long first __asm__("x0") = code;

    __asm__ volatile("svc 0" : : "r"(number), "r"(first) : "memory");
#elif defined(__riscv)
    register long number __asm__("a7") = 93;
    register long first __asm__("a0") = code;

    __asm__ volatile("ecall" : : "r"(number), "r"(first) : "memory");
#elif defined(__s390x__)
    register long first __asm__("r2") = code;

    __asm__ volatile("svc 1" : : "r"(first) : "memory");
#endif
    for (;;)
        ;
}

#if defined(__x86_64__)
__attribute__((force_align_arg_pointer)) /* the kernel jumps here; nothing called */
#endif
void vio_test_start(void)
{
    leave(!run(false) ? 1 : !run(true) ? 2 : 0);
}
