/* SPDX-License-Identifier: MIT */
/* A network device saved and loaded: what the driver has set is there again, and nothing that cannot be gets in. */
#include "net_ctrl_help.h"

#include <errno.h>

/* Where things lie in the record; src/device/net_state.c. */
enum { FLAGS = 0, OFFLOADS = 4, ACTIVE = 8, NR_UNI = 10, NR_MULTI = 12, MAC = 14, HASH_TYPES = 1304, MASK = 1308,
       UNCLASSIFIED = 1310, TABLE = 1312, RECORD = 1608 };

static struct nbench from, to;

static int setup(void **state)
{
    nbench_init(&from, PAIRS, false, false);
    nbench_init(&to, PAIRS, false, false);
    *state = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(&from.rig);
    rig_free(&to.rig);
    return 0;
}

struct saved {
    uint8_t *bytes;
    size_t size;
};

static struct saved save(struct nbench *b)
{
    struct saved s = { 0 };

    vio_device_pause(b->fake.dev);
    assert_int_equal(vio_device_save(b->fake.dev, &s.bytes, &s.size), 0);
    return s;
}

/* The type's own record: tag 0x8001, then flags, size, bytes. */
static uint8_t *record(const struct saved *s)
{
    static const uint8_t head[] = { 0x01, 0x80, 0, 0, RECORD & 0xff, RECORD >> 8, 0, 0 };
    uint8_t *at = memmem(s->bytes, s->size, head, sizeof(head));

    assert_non_null(at);
    return at + sizeof(head);
}

/* Something of everything. */
static void worked(struct nbench *b)
{
    static const uint8_t macs[] = { 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 3, 0, 0, 0, 0, 2 };
    uint8_t rss[8 + 4 + 3 + 40] = { 7, 0, 0, 0, 1, 0, 2, 0, 3, 0, 1, 0, 4, 0, 40 };
    vio_le64 offloads = vio_le64_of(VIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM));
    uint8_t status = VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE;

    memset(rss + 15, 0x77, 40);
    nbench_start(b, nbench_all(b));
    for (uint8_t mode = 0; mode < 6; mode += 2)
        assert_int_equal(command(b, VIRTIO_NET_CTRL_RX, mode, "\1", 1), VIRTIO_NET_OK);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 0, macs, sizeof(macs)), VIRTIO_NET_OK);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MAC, 1, "\2\3\4\5\6\7", 6), VIRTIO_NET_OK);
    assert_int_equal(command_u16(b, VIRTIO_NET_CTRL_VLAN, 0, 100), VIRTIO_NET_OK);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_MQ, 1, rss, sizeof(rss)), VIRTIO_NET_OK);
    assert_int_equal(command(b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), VIRTIO_NET_OK);
    vio_device_config_set(b->fake.dev, 6, &status, 1, false);
}

static void there_and_back(void **state)
{
    const struct net *a = from.fake.net, *b = to.fake.net;
    struct saved s;
    uint8_t config[8];

    (void)state;
    worked(&from);
    s = save(&from);
    assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), 0);
    assert_memory_equal(&b->filter, &a->filter, sizeof(a->filter));
    assert_memory_equal(&b->rss, &a->rss, sizeof(a->rss));
    assert_true(b->rss.steer);
    assert_int_equal(b->guest_offloads, VIO_NET_CSUM);
    assert_int_equal(b->active_pairs, PAIRS);
    assert_int_equal(vio_device_config_read(to.fake.dev, 0, config, 8), 0);
    assert_memory_equal(config, "\2\3\4\5\6\7\3\0", 8);
    /* What was put back is no difference; that the announcement is due is said again. */
    assert_int_equal(to.rig.config_changed, 1);
    for (unsigned i = 0; i < to.rig.lines; i++)
        assert_null(strstr(to.rig.line[i], "not the one that was saved"));
    free(s.bytes);
    s = save(&to);
    vio_device_reset(to.fake.dev);
    assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), 0);
    assert_memory_equal(&b->filter, &a->filter, sizeof(a->filter));
    free(s.bytes);
}

static void saved_before_features_ok(void **state)
{
    struct saved s = save(&from);

    (void)state;
    memset(record(&s), 0xff, RECORD); /* nobody looks */
    assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), 0);
    assert_int_equal(to.fake.net->active_pairs, 1);
    assert_int_equal(vio_device_status(to.fake.dev), 0);
    free(s.bytes);
}

static void bytes_that_cannot_be(void **state)
{
    static const struct {
        unsigned at, size;
        uint32_t value;
        const char *says;
    } wrong[] = {
        { FLAGS, 4, 1024, "flags" },
        { OFFLOADS, 4, 64, "offloads" },
        { ACTIVE, 2, 0, "pairs" },
        { ACTIVE, 2, PAIRS + 1, "pairs" },
        { NR_UNI, 2, NET_MAC_TABLE_MAX + 1, "addresses" },
        { NR_MULTI, 2, 0xffff, "addresses" },
        { MAC, 1, 3, "group" },
        { HASH_TYPES, 4, 0x40, "hash" },
        { MASK, 2, 128, "power of two" },
        { MASK, 2, 0xffff, "power of two" },
        { MASK, 2, 2, "power of two" },
        { UNCLASSIFIED, 2, PAIRS, "unclassified" },
        { TABLE, 2, PAIRS, "not usable" },
        { TABLE + 2 * 127, 2, 0x8000, "not usable" },
    };
    struct saved s;

    (void)state;
    worked(&from);
    s = save(&from);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t *at = record(&s) + wrong[i].at, keep[4];

        memcpy(keep, at, sizeof(keep));
        for (unsigned b = 0; b < wrong[i].size; b++)
            at[b] = (uint8_t)(wrong[i].value >> (8 * b));
        to.rig.lines = 0;
        memset(to.rig.line, 0, sizeof(to.rig.line));
        assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), -EINVAL);
        assert_true(rig_said(&to.rig, wrong[i].says));
        assert_int_equal(vio_device_status(to.fake.dev), 0);
        assert_int_equal(to.fake.net->filter.nr_uni, 0);
        memcpy(at, keep, sizeof(keep));
    }
    record(&s)[-8]++; /* the tag: then there is no such record */
    assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), -EINVAL);
    free(s.bytes);
}

static void what_was_not_negotiated(void **state)
{
    static const struct {
        unsigned bit;
        uint32_t flag;
        const char *says;
    } wrong[] = {
        { VIRTIO_NET_F_GUEST_ANNOUNCE, 512, "announcement" },
        { VIRTIO_NET_F_RSS, 256, "RSS" },
    };
    struct saved s;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        nbench_restart(&from, nbench_but(&from, wrong[i].bit));
        s = save(&from);
        record(&s)[FLAGS + 1] = (uint8_t)(wrong[i].flag >> 8);
        assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), -EINVAL);
        assert_true(rig_said(&to.rig, wrong[i].says));
        free(s.bytes);
    }
    nbench_restart(&from, nbench_but(&from, VIRTIO_NET_F_GUEST_UFO));
    s = save(&from);
    record(&s)[OFFLOADS] |= VIO_NET_UFO;
    assert_int_equal(vio_device_load(to.fake.dev, s.bytes, s.size), -EINVAL);
    free(s.bytes);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(there_and_back),
        TEST(saved_before_features_ok),
        TEST(bytes_that_cannot_be),
        TEST(what_was_not_negotiated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
