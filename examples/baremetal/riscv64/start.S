/* SPDX-License-Identifier: MIT */
/*
 * From the loader to machine_start(), on RISC-V in S-mode over an SBI, as boards have it and as QEMU has it by default (OpenSBI): the
 * device tree is at the address in a1. satp is 0: addresses are physical, and what is cached is the machine's own matter (its physical
 * memory attributes). Only one hart comes here.
 */
    .section .head, "ax"
    .global _start
_start:
    csrw satp, zero
    csrw sie, zero
    la t0, trap
    csrw stvec, t0
    la sp, _stack_top
    la t0, _bss
    la t1, _bss_end
0:  sd zero, 0(t0) /* both are multiples of 4096 */
    addi t0, t0, 8
    bltu t0, t1, 0b
    mv a0, a1
    call machine_start

/* Nothing here is expected: one sentence, and the end. */
    .text
    .balign 4
trap:
    csrr a0, scause
    csrr a1, sepc
    csrr a2, stval
    la sp, _stack_top
    call machine_trap
    .section .note.GNU-stack, "", @progbits
