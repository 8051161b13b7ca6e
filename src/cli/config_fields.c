/* SPDX-License-Identifier: MIT */
/* Purpose: see cli/config_fields.h. */
#include "cli/config_fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spec/blk.h"
#include "spec/net.h"

enum form {
    NUMBER,  /* little-endian, 1, 2, 4 or 8 bytes */
    SECTORS, /* the same, of 512 bytes */
    BYTES,   /* the same, a size */
    HEX,     /* the same, bits */
    MBIT,    /* the same, Mbit/s */
    DUPLEX, LINK, WRITEBACK,
    MAC,
    TEXT,    /* up to the first NUL; not terminated where full */
    RAW,     /* hex digits */
};

enum { ALWAYS = -1 };

struct field {
    uint8_t id;
    int8_t needs;  /* a feature bit of the type's; ALWAYS */
    uint8_t form;
    uint8_t offset;
    uint8_t width;
    const char *name;
};

static const struct config_type types[] = {
    { 1, "net", "a network device", "virtio 1.4, 5.1", 28 },
    { 2, "blk", "a block device", "virtio 1.4, 5.2", 96 },
    { 3, "console", "a console", "virtio 1.4, 5.3", 12 },
    { 4, "rng", "an entropy device", "virtio 1.4, 5.4", 0 },
    { 5, "balloon", "a memory balloon", "virtio 1.4, 5.5", 16 },
    { 8, "scsi", "a SCSI host", "virtio 1.4, 5.6", 36 },
    { 16, "gpu", "a GPU", "virtio 1.4, 5.7", 20 },
    { 17, "rtc", "a clock", "virtio 1.4, 5.23", 0 },
    { 18, "input", "an input device", "virtio 1.4, 5.8", 136 },
    { 19, "vsock", "a socket device", "virtio 1.4, 5.10", 8 },
    { 20, "crypto", "a crypto device", "virtio 1.4, 5.9", 56 },
    { 23, "iommu", "an IOMMU", "virtio 1.4, 5.13", 40 },
    { 24, "mem", "a memory device", "virtio 1.4, 5.15", 56 },
    { 25, "sound", "a sound device", "virtio 1.4, 5.14", 16 },
    { 26, "fs", "a file system", "virtio 1.4, 5.11", 44 },
    { 27, "pmem", "persistent memory", "virtio 1.4, 5.19", 16 },
    { 28, "rpmb", "an RPMB device", "virtio 1.4, 5.12", 3 },
    { 32, "scmi", "an SCMI device", "virtio 1.4, 5.17", 0 },
    { 34, "i2c", "an I2C adapter", "virtio 1.4, 5.16", 0 },
    { 36, "can", "a CAN controller", "virtio 1.4, 5.20", 2 },
    { 41, "gpio", "a GPIO controller", "virtio 1.4, 5.18", 8 },
    { 45, "spi", "an SPI controller", "virtio 1.4, 5.21", 32 },
    { 48, "media", "a media device", "virtio 1.4, 5.22", 40 },
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

static const struct field fields[] = {
    { 1, VIRTIO_NET_F_MAC, MAC, 0, 6, "mac" },
    { 1, VIRTIO_NET_F_STATUS, LINK, 6, 2, "status" },
    { 1, VIRTIO_NET_F_MQ, NUMBER, 8, 2, "max_virtqueue_pairs" }, /* also with RSS */
    { 1, VIRTIO_NET_F_MTU, NUMBER, 10, 2, "mtu" },
    { 1, VIRTIO_NET_F_SPEED_DUPLEX, MBIT, 12, 4, "speed" },
    { 1, VIRTIO_NET_F_SPEED_DUPLEX, DUPLEX, 16, 1, "duplex" },
    { 1, VIRTIO_NET_F_RSS, NUMBER, 17, 1, "rss_max_key_size" },
    { 1, VIRTIO_NET_F_RSS, NUMBER, 18, 2, "rss_max_indirection_table_length" },
    { 1, VIRTIO_NET_F_HASH_REPORT, HEX, 20, 4, "supported_hash_types" }, /* also with RSS */
    { 1, 51, HEX, 24, 4, "supported_tunnel_types" },

    { 2, ALWAYS, SECTORS, 0, 8, "capacity" },
    { 2, VIRTIO_BLK_F_SIZE_MAX, BYTES, 8, 4, "size_max" },
    { 2, VIRTIO_BLK_F_SEG_MAX, NUMBER, 12, 4, "seg_max" },
    { 2, VIRTIO_BLK_F_GEOMETRY, NUMBER, 16, 2, "cylinders" },
    { 2, VIRTIO_BLK_F_GEOMETRY, NUMBER, 18, 1, "heads" },
    { 2, VIRTIO_BLK_F_GEOMETRY, NUMBER, 19, 1, "sectors" },
    { 2, VIRTIO_BLK_F_BLK_SIZE, BYTES, 20, 4, "blk_size" },
    { 2, VIRTIO_BLK_F_TOPOLOGY, NUMBER, 24, 1, "physical_block_exp" },
    { 2, VIRTIO_BLK_F_TOPOLOGY, NUMBER, 25, 1, "alignment_offset" },
    { 2, VIRTIO_BLK_F_TOPOLOGY, NUMBER, 26, 2, "min_io_size" },
    { 2, VIRTIO_BLK_F_TOPOLOGY, NUMBER, 28, 4, "opt_io_size" },
    { 2, VIRTIO_BLK_F_CONFIG_WCE, WRITEBACK, 32, 1, "writeback" },
    { 2, VIRTIO_BLK_F_MQ, NUMBER, 34, 2, "num_queues" },
    { 2, VIRTIO_BLK_F_DISCARD, SECTORS, 36, 4, "max_discard_sectors" },
    { 2, VIRTIO_BLK_F_DISCARD, NUMBER, 40, 4, "max_discard_seg" },
    { 2, VIRTIO_BLK_F_DISCARD, SECTORS, 44, 4, "discard_sector_alignment" },
    { 2, VIRTIO_BLK_F_WRITE_ZEROES, SECTORS, 48, 4, "max_write_zeroes_sectors" },
    { 2, VIRTIO_BLK_F_WRITE_ZEROES, NUMBER, 52, 4, "max_write_zeroes_seg" },
    { 2, VIRTIO_BLK_F_WRITE_ZEROES, NUMBER, 56, 1, "write_zeroes_may_unmap" },
    { 2, VIRTIO_BLK_F_SECURE_ERASE, SECTORS, 60, 4, "max_secure_erase_sectors" },
    { 2, VIRTIO_BLK_F_SECURE_ERASE, NUMBER, 64, 4, "max_secure_erase_seg" },
    { 2, VIRTIO_BLK_F_SECURE_ERASE, SECTORS, 68, 4, "secure_erase_sector_alignment" },
    { 2, VIRTIO_BLK_F_ZONED, SECTORS, 72, 4, "zone_sectors" },
    { 2, VIRTIO_BLK_F_ZONED, NUMBER, 76, 4, "max_open_zones" },
    { 2, VIRTIO_BLK_F_ZONED, NUMBER, 80, 4, "max_active_zones" },
    { 2, VIRTIO_BLK_F_ZONED, SECTORS, 84, 4, "max_append_sectors" },
    { 2, VIRTIO_BLK_F_ZONED, BYTES, 88, 4, "write_granularity" },
    { 2, VIRTIO_BLK_F_ZONED, NUMBER, 92, 1, "model" },

    { 3, 0, NUMBER, 0, 2, "cols" },
    { 3, 0, NUMBER, 2, 2, "rows" },
    { 3, 1, NUMBER, 4, 4, "max_nr_ports" },
    { 3, 2, NUMBER, 8, 4, "emerg_wr" },

    { 5, ALWAYS, NUMBER, 0, 4, "num_pages" },
    { 5, ALWAYS, NUMBER, 4, 4, "actual" },
    { 5, 3, NUMBER, 8, 4, "free_page_hint_cmd_id" },
    { 5, 4, HEX, 12, 4, "poison_val" },

    { 8, ALWAYS, NUMBER, 0, 4, "num_queues" },
    { 8, ALWAYS, NUMBER, 4, 4, "seg_max" },
    { 8, ALWAYS, SECTORS, 8, 4, "max_sectors" },
    { 8, ALWAYS, NUMBER, 12, 4, "cmd_per_lun" },
    { 8, ALWAYS, NUMBER, 16, 4, "event_info_size" },
    { 8, ALWAYS, NUMBER, 20, 4, "sense_size" },
    { 8, ALWAYS, NUMBER, 24, 4, "cdb_size" },
    { 8, ALWAYS, NUMBER, 28, 2, "max_channel" },
    { 8, ALWAYS, NUMBER, 30, 2, "max_target" },
    { 8, ALWAYS, NUMBER, 32, 4, "max_lun" },

    { 16, ALWAYS, HEX, 0, 4, "events_read" },
    { 16, ALWAYS, HEX, 4, 4, "events_clear" },
    { 16, ALWAYS, NUMBER, 8, 4, "num_scanouts" },
    { 16, ALWAYS, NUMBER, 12, 4, "num_capsets" },
    { 16, 5, NUMBER, 16, 4, "blob_alignment" },

    { 18, ALWAYS, NUMBER, 0, 1, "select" },
    { 18, ALWAYS, NUMBER, 1, 1, "subsel" },
    { 18, ALWAYS, NUMBER, 2, 1, "size" },
    { 18, ALWAYS, RAW, 8, 128, "u" },

    { 19, ALWAYS, NUMBER, 0, 8, "guest_cid" },

    { 20, ALWAYS, HEX, 0, 4, "status" },
    { 20, ALWAYS, NUMBER, 4, 4, "max_dataqueues" },
    { 20, ALWAYS, HEX, 8, 4, "crypto_services" },
    { 20, ALWAYS, HEX, 12, 4, "cipher_algo_l" },
    { 20, ALWAYS, HEX, 16, 4, "cipher_algo_h" },
    { 20, ALWAYS, HEX, 20, 4, "hash_algo" },
    { 20, ALWAYS, HEX, 24, 4, "mac_algo_l" },
    { 20, ALWAYS, HEX, 28, 4, "mac_algo_h" },
    { 20, ALWAYS, HEX, 32, 4, "aead_algo" },
    { 20, ALWAYS, NUMBER, 36, 4, "max_cipher_key_len" },
    { 20, ALWAYS, NUMBER, 40, 4, "max_auth_key_len" },
    { 20, ALWAYS, HEX, 44, 4, "akcipher_algo" },
    { 20, ALWAYS, BYTES, 48, 8, "max_size" },

    { 23, ALWAYS, HEX, 0, 8, "page_size_mask" },
    { 23, 0, HEX, 8, 8, "input_range.start" },
    { 23, 0, HEX, 16, 8, "input_range.end" },
    { 23, 1, NUMBER, 24, 4, "domain_range.start" },
    { 23, 1, NUMBER, 28, 4, "domain_range.end" },
    { 23, 4, NUMBER, 32, 4, "probe_size" },
    { 23, 6, NUMBER, 36, 1, "bypass" },

    { 24, ALWAYS, BYTES, 0, 8, "block_size" },
    { 24, 0, NUMBER, 8, 2, "node_id" },
    { 24, ALWAYS, HEX, 16, 8, "addr" },
    { 24, ALWAYS, BYTES, 24, 8, "region_size" },
    { 24, ALWAYS, BYTES, 32, 8, "usable_region_size" },
    { 24, ALWAYS, BYTES, 40, 8, "plugged_size" },
    { 24, ALWAYS, BYTES, 48, 8, "requested_size" },

    { 25, ALWAYS, NUMBER, 0, 4, "jacks" },
    { 25, ALWAYS, NUMBER, 4, 4, "streams" },
    { 25, ALWAYS, NUMBER, 8, 4, "chmaps" },
    { 25, 0, NUMBER, 12, 4, "controls" },

    { 26, ALWAYS, TEXT, 0, 36, "tag" },
    { 26, ALWAYS, NUMBER, 36, 4, "num_request_queues" },
    { 26, 0, NUMBER, 40, 4, "notify_buf_size" },

    { 27, ALWAYS, HEX, 0, 8, "start" },
    { 27, ALWAYS, BYTES, 8, 8, "size" },

    { 28, ALWAYS, NUMBER, 0, 1, "capacity" },
    { 28, ALWAYS, NUMBER, 1, 1, "max_wr_cnt" },
    { 28, ALWAYS, NUMBER, 2, 1, "max_rd_cnt" },

    { 36, ALWAYS, HEX, 0, 2, "status" },

    { 41, ALWAYS, NUMBER, 0, 2, "ngpio" },
    { 41, ALWAYS, NUMBER, 4, 4, "gpio_names_size" },

    { 45, ALWAYS, NUMBER, 0, 1, "cs_max_number" },
    { 45, ALWAYS, NUMBER, 1, 1, "cs_change_supported" },
    { 45, ALWAYS, HEX, 2, 1, "tx_nbits_supported" },
    { 45, ALWAYS, HEX, 3, 1, "rx_nbits_supported" },
    { 45, ALWAYS, HEX, 4, 4, "bits_per_word_mask" },
    { 45, ALWAYS, HEX, 8, 4, "mode_func_supported" },
    { 45, ALWAYS, NUMBER, 12, 4, "max_freq_hz" },
    { 45, ALWAYS, NUMBER, 16, 4, "max_word_delay_ns" },
    { 45, ALWAYS, NUMBER, 20, 4, "max_cs_setup_ns" },
    { 45, ALWAYS, NUMBER, 24, 4, "max_cs_hold_ns" },
    { 45, ALWAYS, NUMBER, 28, 4, "max_cs_inactive_ns" },

    { 48, ALWAYS, HEX, 0, 4, "device_caps" },
    { 48, ALWAYS, NUMBER, 4, 4, "device_type" },
    { 48, ALWAYS, TEXT, 8, 32, "card" },
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

const struct config_type *config_type_of(uint32_t id)
{
    for (unsigned i = 0; i < TYPES; i++)
        if (types[i].id == id)
            return &types[i];
    return NULL;
}

const struct config_type *config_type_named(const char *name)
{
    for (unsigned i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const struct config_type *config_type_at(unsigned i)
{
    return i < TYPES ? &types[i] : NULL;
}

static uint64_t number_at(const uint8_t *bytes, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width && i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* 64-bit numbers past what JSON's integers hold are written as text. */
static json_t *number_json(uint64_t value)
{
    char text[24];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return json_string(text);
}

static json_t *hex_json(uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "0x%" PRIx64, value);
    return json_string(text);
}

static json_t *raw_json(const uint8_t *bytes, unsigned width)
{
    char text[2 * CONFIG_BYTES_MAX + 1] = "";

    for (unsigned i = 0; i < width && i < CONFIG_BYTES_MAX; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return json_string(text);
}

static json_t *mac_json(const uint8_t *b)
{
    char text[18];

    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
    return json_string(text);
}

/* A device's text is hostile: what is not UTF-8 is shown as bytes. */
static json_t *text_json(const uint8_t *bytes, unsigned width)
{
    json_t *text = json_stringn((const char *)bytes, strnlen((const char *)bytes, width));

    return text != NULL ? text : raw_json(bytes, width);
}

static void size_text(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double)bytes;
    unsigned unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, value == (double)(uint64_t)value ? "%.0f %s" : "%.2f %s", value, units[unit]);
}

static void speed_text(uint64_t mbit, char *text, size_t size)
{
    if (mbit > VIRTIO_NET_SPEED_MAX)
        snprintf(text, size, "unknown");
    else
        snprintf(text, size, "%" PRIu64 " Mbit/s", mbit);
}

/* What a number means, for a person; empty: no more than it says. */
static void meaning(const struct field *f, uint64_t value, char *text, size_t size)
{
    text[0] = '\0';
    switch (f->form) {
    case SECTORS:
        if (value <= UINT64_MAX / VIRTIO_BLK_SECTOR)
            size_text(value * VIRTIO_BLK_SECTOR, text, size);
        break;
    case BYTES: size_text(value, text, size); break;
    case MBIT: speed_text(value, text, size); break;
    case LINK:
        snprintf(text, size, "link %s%s", value & VIRTIO_NET_S_LINK_UP ? "up" : "down",
                 value & VIRTIO_NET_S_ANNOUNCE ? ", asks for announcements" : "");
        break;
    case DUPLEX:
        snprintf(text, size, "%s", value == 0 ? "half" : value == VIRTIO_NET_DUPLEX_FULL ? "full" : "unknown");
        break;
    case WRITEBACK:
        snprintf(text, size, "%s", value == 0 ? "write-through" : value == 1 ? "write-back" : "neither 0 nor 1");
        break;
    default: break;
    }
}

static json_t *value_json(const struct field *f, const uint8_t *bytes, char *says, size_t size)
{
    says[0] = '\0';
    switch (f->form) {
    case MAC: return mac_json(bytes);
    case TEXT: return text_json(bytes, f->width);
    case RAW: return raw_json(bytes, f->width);
    case HEX: return hex_json(number_at(bytes, f->width));
    default:
        meaning(f, number_at(bytes, f->width), says, size);
        return number_json(number_at(bytes, f->width));
    }
}

static bool valid(const struct field *f, struct vio_features offered)
{
    if (f->needs == ALWAYS || vio_features_has(offered, (unsigned)f->needs))
        return true;
    /* two fields that RSS gives a meaning too (virtio 1.4, 5.1.4) */
    return f->id == 1 && (f->needs == VIRTIO_NET_F_MQ || f->needs == VIRTIO_NET_F_HASH_REPORT) &&
           vio_features_has(offered, VIRTIO_NET_F_RSS);
}

json_t *config_fields_json(uint32_t id, const uint8_t *bytes, size_t len, struct vio_features offered)
{
    json_t *list = json_array();
    char says[64];

    for (unsigned i = 0; i < FIELDS; i++) {
        const struct field *f = &fields[i];
        json_t *field;

        if (f->id != id || (size_t)f->offset + f->width > len)
            continue;
        field = json_pack("{s:s, s:o, s:b}", "name", f->name, "value",
                          value_json(f, bytes + f->offset, says, sizeof(says)), "valid", valid(f, offered));
        if (field != NULL && says[0] != '\0')
            json_object_set_new(field, "says", json_string(says));
        json_array_append_new(list, field);
    }
    return list;
}
