/* See scenario_image.h. The format of qcow2 is that of QEMU's docs/interop/qcow2, that of vmdk VMware's "Virtual Disk Format". */
#include "fuzz/qemu/scenario_image.h"

#include "qemu/bswap.h"

#define VMDK_SECTOR 512u

enum { HEADER, REFCOUNT_TABLE, REFCOUNT_BLOCK, L1_TABLE, CLUSTERS };

static void make_file(const char *name, const void *content, size_t bytes)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    fuzz_check(fd >= 0);
    fuzz_check(pwrite(fd, content, bytes, 0) == (ssize_t)bytes);
    fuzz_check(close(fd) == 0);
}

void scenario_make_raw(const char *name, size_t bytes, uint8_t pattern)
{
    g_autofree uint8_t *content = g_malloc(bytes);

    memset(content, pattern, bytes);
    make_file(name, content, bytes);
}

void scenario_make_qcow2(const char *name, unsigned cluster_bits, uint64_t disk_bytes)
{
    size_t cluster = (size_t)1 << cluster_bits;
    g_autofree uint8_t *image = g_malloc0(CLUSTERS * cluster);

    fuzz_check(disk_bytes <= cluster / 8 * cluster);
    stl_be_p(image, 0x514649fb);
    stl_be_p(image + 4, 3);
    stl_be_p(image + 20, cluster_bits);
    stq_be_p(image + 24, disk_bytes);
    stl_be_p(image + 36, 1); /* entries of the L1 table */
    stq_be_p(image + 40, L1_TABLE * cluster);
    stq_be_p(image + 48, REFCOUNT_TABLE * cluster);
    stl_be_p(image + 56, 1); /* clusters of the refcount table */
    stl_be_p(image + 96, 4); /* refcounts of 16 bits */
    stl_be_p(image + 100, 104);
    stq_be_p(image + REFCOUNT_TABLE * cluster, REFCOUNT_BLOCK * cluster);
    for (size_t i = 0; i < CLUSTERS; i++) {
        stw_be_p(image + REFCOUNT_BLOCK * cluster + 2 * i, 1);
    }
    make_file(name, image, CLUSTERS * cluster);
}

void scenario_make_vmdk(const char *name, const size_t *extent_bytes, unsigned extent_count)
{
    g_autoptr(GString) descriptor = g_string_new("# Disk DescriptorFile\n"
                                                 "version=1\n"
                                                 "CID=01234567\n"
                                                 "parentCID=ffffffff\n"
                                                 "createType=\"twoGbMaxExtentFlat\"\n");

    for (unsigned i = 0; i < extent_count; i++) {
        char extent[] = { 'e', (char)('0' + i), '\0' };

        fuzz_check(i < 10 && extent_bytes[i] % VMDK_SECTOR == 0);
        scenario_make_raw(extent, extent_bytes[i], 0);
        g_string_append_printf(descriptor, "RW %zu FLAT \"%s\" 0\n", extent_bytes[i] / VMDK_SECTOR, extent);
    }
    /* To whole sectors: QEMU 10.0 goes on after a short read, and O_DIRECT here refuses an odd offset also at the file's end, unlike Linux. */
    g_string_append_printf(descriptor, "%*s", (int)(VMDK_SECTOR - descriptor->len % VMDK_SECTOR), "\n");
    make_file(name, descriptor->str, descriptor->len);
}

int scenario_pattern(const uint8_t *buffer, size_t bytes)
{
    return bytes && memcmp(buffer, buffer + 1, bytes - 1) == 0 ? buffer[0] : -1;
}

uint8_t scenario_file_pattern(const char *name, off_t offset, size_t bytes)
{
    g_autofree uint8_t *content = g_malloc(bytes);
    int fd = open(name, O_RDONLY), pattern;

    fuzz_check(fd >= 0);
    fuzz_check(pread(fd, content, bytes, offset) == (ssize_t)bytes);
    fuzz_check(close(fd) == 0);
    pattern = scenario_pattern(content, bytes);
    fuzz_check(pattern >= 0);
    return (uint8_t)pattern;
}
