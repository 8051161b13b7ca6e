/* SPDX-License-Identifier: MIT */
/*
 * From the loader to machine_start(), on x86-64. The loader (QEMU's -kernel, or any VMM that knows PVH) finds the entry in an ELF
 * note and jumps there in 32-bit protected mode, without paging, with the address of its start information in ebx. All
 * memory below 4 GiB is mapped where it is; what is from 1 GiB on is for devices, and not cached (MTRRs, or these bits).
 */
#define PRESENT_WRITE 0x3
#define LARGE 0x80
#define NOT_CACHED 0x18
#define CR0_PAGING 0x80000000
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LONG 0x100

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18 /* lengths of the name and of the entry's address; XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad _start

    .section .head, "ax"
    .code32
    .global _start
_start:
    cld
    mov %ebx, %ebp
    mov $page_map, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $EFER, %ecx
    rdmsr
    or $EFER_LONG, %eax
    wrmsr
    mov %cr0, %eax
    or $CR0_PAGING, %eax
    mov %eax, %cr0
    lgdt gdt_place
    ljmp $8, $long_mode

    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $_bss, %edi
    mov $_bss_end, %ecx
    sub %edi, %ecx
    xor %eax, %eax
    rep stosb
    mov $_stack_top, %rsp
    mov %ebp, %edi
    call machine_start
0:  hlt
    jmp 0b

    .section .rodata
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* code, 64 bits */
    .quad 0x00cf93000000ffff /* data */
gdt_place:
    .word gdt_place - gdt - 1
    .long gdt

    .data
    .balign 4096
page_map:
    .quad directories + PRESENT_WRITE
    .fill 511, 8, 0
    .global directories
directories: /* one for each GiB; machine.c adds more */
    .quad pages + PRESENT_WRITE, pages + 4096 + PRESENT_WRITE, pages + 8192 + PRESENT_WRITE, pages + 12288 + PRESENT_WRITE
    .fill 508, 8, 0
pages: /* of 2 MiB */
    .set address, 0
    .rept 512
    .quad address + LARGE + PRESENT_WRITE
    .set address, address + 0x200000
    .endr
    .rept 1536
    .quad address + LARGE + NOT_CACHED + PRESENT_WRITE
    .set address, address + 0x200000
    .endr
    .section .note.GNU-stack, "", @progbits
