/* SPDX-License-Identifier: MIT */
/*
 * The table of vhost-user messages: its rows against each other, its checks, and docs/vhost-user.md, which is printed
 * from it. usage: vhost_user_table_test PAGE        compares
 *                vhost_user_table_test PAGE --write writes the page anew
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spec/virtio.h"
#include "transport/vhost_user/session.h"

static const char *page_path;

/* ------------------------------------------------------------------ rows and checks */

static void rows_are_in_order_and_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        const struct vu_message *m = &vu_messages[i];

        assert_true(i == 0 || m->id > vu_messages[i - 1].id);
        assert_non_null(m->name);
        assert_non_null(m->does);
        assert_non_null(m->handle);
        assert_true((m->reply == VU_REPLY_OWN) == (m->reply_text != NULL));
        assert_true(m->protocol_bit == VU_BIT_NONE || vu_protocol_name((unsigned)m->protocol_bit) != NULL);
        assert_ptr_equal(vu_message_find(m->id), m);
        /* A queue is named by the first bytes, so they must be there. */
        if (m->index != VU_INDEX_NONE)
            assert_true(m->length >= (m->index == VU_INDEX_U32 ? 4 : 8));
        if (m->when & VU_WHEN_QUEUE_STOPPED)
            assert_true(m->index != VU_INDEX_NONE);
        if (m->fds == VU_FDS_UNLESS_FLAG)
            assert_int_equal(m->index, VU_INDEX_U64);
    }
    assert_null(vu_message_find(0));
    assert_null(vu_message_find(UINT32_MAX));
}

static void protocol_features_have_their_messages(void **state)
{
    uint64_t with_messages = 0;

    (void)state;
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        if (vu_messages[i].protocol_bit >= 0)
            with_messages |= UINT64_C(1) << vu_messages[i].protocol_bit;
    }
    assert_int_equal(with_messages & ~vu_protocol_spoken(), 0);
    /* Those that are spoken without a message of their own. */
    assert_int_equal(vu_protocol_spoken() & ~with_messages,
                     UINT64_C(1) << VHOST_USER_PROTOCOL_F_REPLY_ACK |
                     UINT64_C(1) << VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT |
                     UINT64_C(1) << VHOST_USER_PROTOCOL_F_GPA_ADDRESSES);
}

static void lengths(void **state)
{
    uint8_t payload[VU_PAYLOAD_MAX] = { 0 };
    char why[200];

    (void)state;
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        const struct vu_message *m = &vu_messages[i];
        unsigned right = 0;

        if (m->length_kind == VU_LENGTH_REGIONS || m->length_kind == VU_LENGTH_CONFIG)
            continue;
        for (uint32_t n = 0; n < 300; n++) {
            unsigned fds = m->fds == VU_FDS_ONE || m->fds == VU_FDS_UNLESS_FLAG;

            right += vu_message_check(m, payload, n, fds, why, sizeof(why)) == 0;
        }
        assert_int_equal(right, m->length_kind == VU_LENGTH_EITHER ? 2 : 1);
    }
}

static void regions_and_bytes_that_are_counted(void **state)
{
    const struct vu_message *table = vu_message_find(VHOST_USER_SET_MEM_TABLE);
    const struct vu_message *config = vu_message_find(VHOST_USER_SET_CONFIG);
    uint8_t payload[VU_PAYLOAD_MAX] = { 0 };
    char why[200];

    (void)state;
    for (uint32_t count = 0; count < 12; count++) {
        memcpy(payload, &count, sizeof(count));
        for (uint32_t n = 0; n < 400; n++) {
            bool right = count <= 8 && n >= 8 + 32 * count && n <= 264 && n % 32 == 8;

            assert_int_equal(vu_message_check(table, payload, n, count, why, sizeof(why)), right ? 0 : -EPROTO);
        }
    }
    memset(payload, 0, sizeof(payload));
    for (uint32_t n = 0; n < 100; n++) {
        uint32_t count = 20;

        memcpy(payload + 4, &count, sizeof(count));
        assert_int_equal(vu_message_check(config, payload, n, 0, why, sizeof(why)), n == 32 ? 0 : -EPROTO);
    }
}

static void numbers_of_descriptors(void **state)
{
    const struct vu_message *kick = vu_message_find(VHOST_USER_SET_VRING_KICK);
    const struct vu_message *rem = vu_message_find(VHOST_USER_REM_MEM_REG);
    uint64_t with = 1, without = 1 | VHOST_USER_VRING_NOFD;
    uint8_t payload[40] = { 0 };
    char why[200];

    (void)state;
    assert_int_equal(vu_message_check(kick, &with, 8, 1, why, sizeof(why)), 0);
    assert_int_equal(vu_message_check(kick, &with, 8, 0, why, sizeof(why)), -EPROTO);
    assert_int_equal(vu_message_check(kick, &without, 8, 0, why, sizeof(why)), 0);
    assert_int_equal(vu_message_check(kick, &without, 8, 1, why, sizeof(why)), -EPROTO);
    assert_int_equal(vu_message_check(rem, payload, 40, 0, why, sizeof(why)), 0);
    assert_int_equal(vu_message_check(rem, payload, 40, 1, why, sizeof(why)), 0);
    assert_int_equal(vu_message_check(rem, payload, 40, 2, why, sizeof(why)), -EPROTO);
    assert_int_equal(vu_message_queue(kick, &without), 1);
}

static void names(void **state)
{
    char text[64], small[8];

    (void)state;
    assert_string_equal(vu_message_name(VHOST_USER_SET_MEM_TABLE, text, sizeof(text)), "SET_MEM_TABLE");
    assert_string_equal(vu_message_name(VHOST_USER_POSTCOPY_ADVISE, text, sizeof(text)), "POSTCOPY_ADVISE");
    assert_string_equal(vu_message_name(4000, text, sizeof(text)), "message 4000");
    assert_string_equal(vu_protocol_text(UINT64_C(1) << 63 | 9, text, sizeof(text)), "MQ, REPLY_ACK, bit 63");
    assert_string_equal(vu_protocol_text(0, text, sizeof(text)), "none");
    assert_string_equal(vu_protocol_text(UINT64_C(0xfff), small, sizeof(small)), "MQ, LOG");
}

/* ------------------------------------------------------------------ the page */

static void print_length(FILE *to, const struct vu_message *m)
{
    switch (m->length_kind) {
    case VU_LENGTH_EXACT:
        fprintf(to, "%u", m->length);
        break;
    case VU_LENGTH_EITHER:
        fprintf(to, "%u or %u", m->length, m->length_padded);
        break;
    case VU_LENGTH_REGIONS:
        fprintf(to, "8 + 32 m (n <= m <= 8)");
        break;
    case VU_LENGTH_CONFIG:
        fprintf(to, "12 + n");
        break;
    }
}

static const char *fds_text(const struct vu_message *m)
{
    static const char *const text[] = { [VU_FDS_NONE] = "0", [VU_FDS_ONE] = "1", [VU_FDS_ONE_UNUSED] = "0 (1 is closed)",
                                        [VU_FDS_REGIONS] = "n", [VU_FDS_UNLESS_FLAG] = "1, or 0 with bit 8" };

    return text[m->fds];
}

static const char *refusal_text(const struct vu_message *m)
{
    static const char *const text[] = { [VU_REFUSE_CLOSE] = "the end", [VU_REFUSE_U64] = "u64 not 0",
                                        [VU_REFUSE_EMPTY] = "no bytes", [VU_REFUSE_ZEROES] = "zeroes" };

    return m->reply == VU_REPLY_ACK ? "ack" : text[m->refusal];
}

static void print_when(FILE *to, const struct vu_message *m)
{
    const char *comma = "";

    if (m->protocol_bit >= 0) {
        fprintf(to, "%s", vu_protocol_name((unsigned)m->protocol_bit));
        comma = "; ";
    }
    if (m->virtio_bit == VU_BIT_ANY_PROTOCOL) {
        fprintf(to, "%sbit 30", comma);
        comma = "; ";
    } else if (m->virtio_bit >= 0) {
        fprintf(to, "%s%s", comma, vio_feature_name(VIRTIO_ID_BLOCK, (unsigned)m->virtio_bit));
        comma = "; ";
    }
    if (m->when & VU_WHEN_OWNED) {
        fprintf(to, "%safter SET_OWNER", comma);
        comma = "; ";
    }
    if (m->when & VU_WHEN_QUEUE_STOPPED) {
        fprintf(to, "%squeue stopped", comma);
        comma = "; ";
    }
    if (m->when & VU_WHEN_ALL_STOPPED)
        fprintf(to, "%sall queues stopped", comma);
}

static void print_messages(FILE *to)
{
    fprintf(to, "| id | message | payload, bytes | descriptors | when | reply | refused by | what vio does |\n"
                "|---|---|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < vu_nr_messages; i++) {
        const struct vu_message *m = &vu_messages[i];

        fprintf(to, "| %u | %s | ", m->id, m->name);
        print_length(to, m);
        fprintf(to, " | %s | ", fds_text(m));
        print_when(to, m);
        fprintf(to, " | %s | %s | %s |\n", m->reply == VU_REPLY_OWN ? m->reply_text : "ack", refusal_text(m), m->does);
    }
}

static void print_page(FILE *to)
{
    fprintf(to, "# vhost-user, as vio speaks it\n"
                "\n"
                "This page is printed from the table that the program runs on, `src/transport/vhost_user/table.c`; a test\n"
                "(`tests/unit/vhost_user_table_test.c`) fails when they differ. The protocol itself is QEMU's document\n"
                "*Vhost-user Protocol* in its interop documents; vio is the back-end, the device's side.\n"
                "\n"
                "## Messages of the front-end\n"
                "\n");
    print_messages(to);
    fprintf(to, "\n"
                "*ack*: with REPLY_ACK and need_reply a u64, 0 for success. A message that is refused and has neither that nor\n"
                "a form of its own for \"refused\" ends the connection: going on without it would only fail later. *the end*:\n"
                "so does a refusal of this one. SET_LOG_BASE with need_reply is refused by a u64.\n"
                "\n"
                "Lengths are exact. Structures that end in padding are taken with and without it, and answered as they came.\n"
                "\n"
                "## Requests of the back-end\n"
                "\n"
                "| id | request | payload, bytes | needs | when vio sends it |\n"
                "|---|---|---|---|---|\n");
    for (unsigned i = 0; i < vu_nr_requests; i++)
        fprintf(to, "| %u | %s | %u | %s | %s |\n", vu_requests[i].id, vu_requests[i].name, vu_requests[i].length,
                vu_protocol_name((unsigned)vu_requests[i].protocol_bit), vu_requests[i].does);
    fprintf(to, "\n"
                "None asks for a reply. What is due is remembered once a kind and queue, so that a front-end that does not read\n"
                "costs nothing.\n"
                "\n"
                "## Protocol features\n"
                "\n"
                "A bit that is not needed is not offered: QEMU takes any bit below its own highest whether it speaks it or not.\n"
                "\n"
                "| bit | feature | offered |\n"
                "|---|---|---|\n");
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = vu_protocol_name(bit);
        const char *offered = (vu_protocol_spoken() >> bit & 1) == 0 ? "no" :
                              bit == VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS ? "by choice only" :
                              bit == VHOST_USER_PROTOCOL_F_RARP || bit == VHOST_USER_PROTOCOL_F_MTU ?
                              "by network devices" :
                              bit == VHOST_USER_PROTOCOL_F_CONFIG ? "by devices that have a configuration space" : "yes";

        if (name != NULL)
            fprintf(to, "| %u | %s | %s |\n", bit, name, offered);
    }
    fprintf(to, "\n"
                "With GPA_ADDRESSES the front-end repeats guest addresses as user addresses, so that vio treats both alike.\n"
                "\n"
                "## Where the document leaves it open\n"
                "\n"
                "* A queue starts with SET_VRING_KICK once its size and addresses are known. If that message came before them, it\n"
                "  starts with SET_VRING_ENABLE (or, without bit 30, with SET_VRING_ADDR). vio never waits for a first kick.\n"
                "* A front-end without STATUS, or one that never sends it, has its driver's steps inferred when the first queue\n"
                "  starts. FEATURES_OK before DRIVER is taken as both (QEMU sends it so).\n"
                "* SET_STATUS 0 stops all queues, drained. GET_VRING_BASE still tells the positions afterwards: QEMU 7.2 asks in\n"
                "  that order.\n"
                "* A region that is removed while queues run in it stops these, drained; they go on when their memory is back.\n"
                "* A new call descriptor is signalled once, for a notification may have gone to the old one meanwhile.\n"
                "* Kick, call and err descriptors are eventfds or pipes, made non-blocking; call and err may be UNIX stream\n"
                "  sockets too (User Mode Linux). Anything else is refused.\n"
                "* SET_PROTOCOL_FEATURES that turns REPLY_ACK on is acknowledged already, if it has need_reply.\n"
                "* One front-end at a time: a second one is hung up on.\n"
                "* Half a message, or a reply that is not read, ends the session after %d s; a state that does not end, after\n"
                "  %d s.\n"
                "* RING_RESET is not offered: no message carries it, and QEMU would reset only its own half. Nor are\n"
                "  NOTIFICATION_DATA, for an eventfd carries no value, and bits above 63, for which GET_FEATURES has no room.\n",
                VU_STUCK_MS / 1000, VU_STATE_MS / 1000);
}

static void page_is_the_table(void **state)
{
    char *want = NULL, *got;
    size_t size = 0, n;
    FILE *to = open_memstream(&want, &size), *file;

    (void)state;
    assert_non_null(to);
    print_page(to);
    fclose(to);
    file = fopen(page_path, "r");
    if (file == NULL)
        fail_msg("%s is missing: run this test with --write", page_path);
    got = calloc(1, size + 2);
    n = fread(got, 1, size + 1, file);
    fclose(file);
    if (n != size || memcmp(got, want, size) != 0)
        fail_msg("%s is not what the table says: run this test with --write", page_path);
    free(got);
    free(want);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_in_order_and_whole), cmocka_unit_test(protocol_features_have_their_messages),
        cmocka_unit_test(lengths),                     cmocka_unit_test(regions_and_bytes_that_are_counted),
        cmocka_unit_test(numbers_of_descriptors),      cmocka_unit_test(names),
        cmocka_unit_test(page_is_the_table),
    };

    if (argc < 2) {
        fprintf(stderr, "usage: %s PAGE [--write]\n", argv[0]);
        return 2;
    }
    page_path = argv[1];
    if (argc > 2 && strcmp(argv[2], "--write") == 0) {
        FILE *to = fopen(page_path, "w");

        if (to == NULL) {
            perror(page_path);
            return 1;
        }
        print_page(to);
        return fclose(to) == 0 ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
