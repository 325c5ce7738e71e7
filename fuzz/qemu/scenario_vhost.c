/* See scenario_vhost.h. A guest runs in a thread of its own, all else in the main thread. */
#include "fuzz/qemu/scenario_vhost.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fuzz/qemu/scenario_image.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_blk.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"

#define DEPTH       SCENARIO_VHOST_DEPTH
#define BLOCK_BYTES SCENARIO_VHOST_BLOCK_BYTES

/* ---- the wire: messages of docs/interop/vhost-user, their numbers and payloads */

enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
};

#define VERSION             1u
#define IS_REPLY            4u
#define NEEDS_REPLY         8u
#define PROTOCOL_FEATURES   (UINT64_C(1) << 30)
#define PROTOCOL_REPLY_ACK  (UINT64_C(1) << 3)
#define PROTOCOL_CONFIG     (UINT64_C(1) << 9)
#define CONFIG_HEADER_BYTES 12u

typedef struct QEMU_PACKED Header {
    uint32_t request, flags, bytes;
} Header;

typedef struct QEMU_PACKED Region {
    uint64_t guest_address, bytes, user_address, offset;
} Region;

typedef union QEMU_PACKED Payload {
    uint64_t number;
    struct QEMU_PACKED {
        uint32_t index, value;
    } state;
    struct QEMU_PACKED {
        uint32_t index, flags;
        uint64_t descriptors, used, available, log;
    } address;
    struct QEMU_PACKED {
        uint32_t count, unused;
        Region region;
    } memory;
    struct QEMU_PACKED {
        uint32_t offset, bytes, flags;
        struct virtio_blk_config config;
    } config;
} Payload;

/* ---- memory that guest and export share */

#define RING_SIZE     16u
#define GUEST_ADDRESS UINT64_C(0x100000)

typedef struct Slot {
    struct virtio_blk_outhdr header;
    struct virtio_blk_discard_write_zeroes range;
    uint8_t data[BLOCK_BYTES];
    uint8_t status;
} Slot;

/* As virtio has a split ring: each part with the event index of the other side at its end. */
typedef struct Memory {
    struct vring_desc descriptors[RING_SIZE];
    struct {
        uint16_t flags, index, ring[RING_SIZE], used_event;
    } available;
    struct {
        QEMU_ALIGNED(4) uint16_t flags;
        uint16_t index;
        struct vring_used_elem ring[RING_SIZE];
        uint16_t available_event;
    } used;
    Slot slots[DEPTH];
} Memory;

#define MEMORY_BYTES ROUND_UP(sizeof(Memory), 4096)

typedef struct VhostSession {
    int socket, kick, call, file;
    Memory *memory;
    bool acknowledges; /* PROTOCOL_REPLY_ACK */
    uint16_t available, used; /* indices of the ring, as the driver has them */
    bool pending[DEPTH];
} VhostSession;

static bool put(VhostSession *session, uint32_t request, uint32_t flags, const Payload *payload, size_t bytes, int file)
{
    Header header = { request, VERSION | flags, bytes };
    struct iovec parts[2] = { { &header, sizeof(header) }, { (void *)payload, bytes } };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr part;
    } control = { { 0 } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = bytes ? 2 : 1 };

    if (file >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.part.cmsg_level = SOL_SOCKET;
        control.part.cmsg_type = SCM_RIGHTS;
        control.part.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.part), &file, sizeof(int));
    }
    return sendmsg(session->socket, &message, MSG_NOSIGNAL) == (ssize_t)(sizeof(header) + bytes); /* there is room for all */
}

static bool get(VhostSession *session, uint32_t request, Payload *payload, size_t bytes)
{
    Header header;

    if (!scenario_read_all(session->socket, &header, sizeof(header))) {
        return false;
    }
    fuzz_check(header.request == request);
    fuzz_check(header.flags & IS_REPLY);
    fuzz_check(header.bytes == bytes);
    return scenario_read_all(session->socket, payload, bytes);
}

static bool set_number(VhostSession *session, uint32_t request, uint64_t number)
{
    Payload payload = { .number = number };

    return put(session, request, 0, &payload, sizeof(number), -1);
}

static bool get_number(VhostSession *session, uint32_t request, uint64_t *number)
{
    Payload payload;

    if (!put(session, request, 0, NULL, 0, -1) || !get(session, request, &payload, sizeof(*number))) {
        return false;
    }
    *number = payload.number;
    return true;
}

static bool set_state(VhostSession *session, uint32_t request, uint32_t value)
{
    Payload payload = { .state.value = value };

    return put(session, request, 0, &payload, sizeof(payload.state), -1);
}

static bool set_file(VhostSession *session, uint32_t request, int file)
{
    Payload payload = { .number = 0 }; /* of ring 0 */

    return put(session, request, 0, &payload, sizeof(payload.number), file);
}

/* ---- the front-end, in the order of QEMU's own */

static bool check_config(VhostSession *session)
{
    Payload payload = { .config.bytes = sizeof(struct virtio_blk_config) };
    size_t bytes = CONFIG_HEADER_BYTES + sizeof(struct virtio_blk_config);

    if (!put(session, GET_CONFIG, 0, &payload, bytes, -1) || !get(session, GET_CONFIG, &payload, bytes)) {
        return false;
    }
    fuzz_check(le64_to_cpu(payload.config.config.capacity) == SCENARIO_VHOST_DISK_BYTES / 512);
    return true;
}

static bool negotiate(VhostGuest *guest)
{
    VhostSession *session = guest->session;
    uint64_t features, protocol, queues, wanted = PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;

    wanted |= 1ull << VIRTIO_BLK_F_DISCARD | (guest->event_index ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0);
    if (!get_number(session, GET_FEATURES, &features) || !get_number(session, GET_PROTOCOL_FEATURES, &protocol)) {
        return false;
    }
    fuzz_check((features & wanted) == wanted);
    fuzz_check(protocol & PROTOCOL_CONFIG);
    session->acknowledges = protocol & PROTOCOL_REPLY_ACK;
    if (!set_number(session, SET_PROTOCOL_FEATURES, protocol & (PROTOCOL_CONFIG | PROTOCOL_REPLY_ACK)) ||
        !put(session, SET_OWNER, 0, NULL, 0, -1) || !get_number(session, GET_QUEUE_NUM, &queues) || !check_config(session)) {
        return false;
    }
    fuzz_check(queues == 1);
    return set_number(session, SET_FEATURES, wanted);
}

static bool share_memory(VhostSession *session)
{
    Payload payload = { .memory = { 1, 0, { GUEST_ADDRESS, MEMORY_BYTES, (uintptr_t)session->memory, 0 } } };
    uint32_t flags = session->acknowledges ? NEEDS_REPLY : 0;

    if (!put(session, SET_MEM_TABLE, flags, &payload, sizeof(payload.memory), session->file)) {
        return false;
    }
    if (flags) {
        if (!get(session, SET_MEM_TABLE, &payload, sizeof(payload.number))) {
            return false;
        }
        fuzz_check(payload.number == 0);
    }
    return true;
}

static bool start_ring(VhostSession *session)
{
    Memory *memory = session->memory;
    Payload address = {
        .address.descriptors = (uintptr_t)memory->descriptors,
        .address.used = (uintptr_t)&memory->used,
        .address.available = (uintptr_t)&memory->available,
    };

    return set_state(session, SET_VRING_NUM, RING_SIZE) && set_state(session, SET_VRING_BASE, session->available) &&
           put(session, SET_VRING_ADDR, 0, &address, sizeof(address.address), -1) &&
           set_file(session, SET_VRING_KICK, session->kick) && set_file(session, SET_VRING_CALL, session->call) &&
           set_state(session, SET_VRING_ENABLE, 1);
}

/* The index up to which the export has taken requests. */
static bool stop_ring(VhostSession *session, uint16_t *base)
{
    Payload payload;

    if (!set_state(session, GET_VRING_BASE, 0) || !get(session, GET_VRING_BASE, &payload, sizeof(payload.state))) {
        return false;
    }
    *base = payload.state.value;
    return true;
}

/* ---- the driver: slot i has the descriptors from 3 * i on, linked for good */

static uint32_t type_of(const VhostGuest *guest, unsigned slot)
{
    static const uint32_t types[] = { VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_DISCARD };

    return types[guest->types >> (2 * ((slot + guest->round) % DEPTH)) & 3]; /* so that what was written is read */
}

static uint64_t address_of(const VhostSession *session, const void *place)
{
    return GUEST_ADDRESS + ((const uint8_t *)place - (const uint8_t *)session->memory);
}

static void describe(VhostSession *session, unsigned index, void *place, size_t bytes, unsigned flags)
{
    session->memory->descriptors[index] = (struct vring_desc){
        .addr = cpu_to_le64(address_of(session, place)),
        .len = cpu_to_le32(bytes),
        .flags = cpu_to_le16(flags),
        .next = cpu_to_le16(index + 1),
    };
}

static void fill_slot(VhostGuest *guest, unsigned i)
{
    VhostSession *session = guest->session;
    Slot *slot = &session->memory->slots[i];
    uint32_t type = type_of(guest, i);
    uint64_t sector = guest->number * DEPTH + i;
    unsigned next = 3 * i;

    *slot = (Slot){ .status = 0xff };
    slot->header.type = cpu_to_le32(type);
    describe(session, next++, &slot->header, sizeof(slot->header), VRING_DESC_F_NEXT);
    if (type == VIRTIO_BLK_T_DISCARD) {
        slot->range.sector = cpu_to_le64(sector);
        slot->range.num_sectors = cpu_to_le32(BLOCK_BYTES / 512);
        describe(session, next++, &slot->range, sizeof(slot->range), VRING_DESC_F_NEXT);
    } else if (type != VIRTIO_BLK_T_FLUSH) {
        slot->header.sector = cpu_to_le64(sector);
        memset(slot->data, guest->patterns[i] + 1, BLOCK_BYTES);
        describe(session, next++, slot->data, BLOCK_BYTES,
                 VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0));
    }
    describe(session, next, &slot->status, 1, VRING_DESC_F_WRITE);
    session->pending[i] = true;
}

static void kick(VhostSession *session)
{
    fuzz_check(eventfd_write(session->kick, 1) == 0);
}

/* Make requests available; kick where the export wants to know, or asks for no favours. */
static void submit(VhostGuest *guest, unsigned first, unsigned end)
{
    VhostSession *session = guest->session;
    Memory *memory = session->memory;
    uint16_t old = session->available;

    for (unsigned i = first; i < end; i++) {
        fill_slot(guest, i);
        memory->available.ring[session->available++ % RING_SIZE] = cpu_to_le16(3 * i);
    }
    smp_wmb();
    qatomic_set(&memory->available.index, cpu_to_le16(session->available));
    smp_mb();
    if (guest->kicks_often || !guest->event_index ||
        vring_need_event(le16_to_cpu(qatomic_read(&memory->used.available_event)), session->available, old)) {
        kick(session);
    }
}

static void check_data(VhostGuest *guest, unsigned i)
{
    Slot *slot = &guest->session->memory->slots[i];
    uint32_t type = type_of(guest, i);

    fuzz_check(slot->status == VIRTIO_BLK_S_OK);
    if (type == VIRTIO_BLK_T_OUT) {
        guest->patterns[i]++;
        guest->doubts[i] = false;
    } else if (type == VIRTIO_BLK_T_IN) {
        int pattern = scenario_pattern(slot->data, BLOCK_BYTES);

        fuzz_check(pattern == guest->patterns[i] || (guest->doubts[i] && pattern == (uint8_t)(guest->patterns[i] + 1)));
        guest->patterns[i] = pattern;
        guest->doubts[i] = false;
    }
}

/* Take what is completed. */
static void take_used(VhostGuest *guest)
{
    VhostSession *session = guest->session;
    Memory *memory = session->memory;

    while (session->used != le16_to_cpu(qatomic_read(&memory->used.index))) {
        struct vring_used_elem element;
        uint32_t head;

        smp_rmb();
        element = memory->used.ring[session->used++ % RING_SIZE];
        head = le32_to_cpu(element.id);
        fuzz_check(head % 3 == 0 && head / 3 < DEPTH);
        fuzz_check(session->pending[head / 3]);
        session->pending[head / 3] = false;
        check_data(guest, head / 3);
    }
}

static bool any_pending(const VhostSession *session)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        if (session->pending[i]) {
            return true;
        }
    }
    return false;
}

/* Sleep until the export calls; false: it has hung up. */
static bool wait_for_call(VhostSession *session)
{
    struct pollfd requests[2] = { { .fd = session->call, .events = POLLIN }, { .fd = session->socket, .events = POLLIN } };
    eventfd_t value;

    if (poll(requests, 2, -1) < 0) { /* interrupted */
        return true;
    }
    if (requests[0].revents) {
        fuzz_check(eventfd_read(session->call, &value) == 0);
        return true;
    }
    return false;
}

static bool wait_for_all(VhostGuest *guest)
{
    VhostSession *session = guest->session;

    for (;;) {
        session->memory->available.used_event = cpu_to_le16(session->used); /* tell me of the next one */
        smp_mb();
        take_used(guest);
        if (!any_pending(session)) {
            return true;
        }
        if (session->used == le16_to_cpu(session->memory->available.used_event) && !wait_for_call(session)) {
            return false;
        }
    }
}

/* ---- what a guest does */

static bool restart_ring(VhostGuest *guest)
{
    VhostSession *session = guest->session;
    uint16_t base, available = session->available;

    if (!stop_ring(session, &base)) {
        return false;
    }
    take_used(guest);
    fuzz_check((uint16_t)(available - base) <= DEPTH);
    fuzz_check(any_pending(session) || base == available);
    session->available = base;
    if (!start_ring(session)) {
        return false;
    }
    session->available = available;
    kick(session); /* for what was not taken */
    return true;
}

static bool do_round(VhostGuest *guest, bool last)
{
    unsigned step = guest->kicks_often ? 1 : DEPTH;

    for (unsigned i = 0; i < DEPTH; i += step) {
        submit(guest, i, i + step);
    }
    if (last && guest->end == VHOST_LEAVES_EARLY) {
        return true;
    }
    if ((guest->restarts_early && !restart_ring(guest)) || !wait_for_all(guest)) {
        return false;
    }
    if (guest->kicks_often) {
        kick(guest->session);
    }
    return !guest->restarts || restart_ring(guest);
}

static bool do_rounds(VhostGuest *guest)
{
    VhostSession *session = guest->session;
    uint16_t base;

    if (!negotiate(guest) || !share_memory(session) || !start_ring(session)) {
        return false;
    }
    for (unsigned round = 0; round < guest->rounds; round++) {
        guest->round = round;
        if (!do_round(guest, round + 1 == guest->rounds)) {
            return false;
        }
    }
    if (guest->end == VHOST_STOPS) {
        if (!stop_ring(session, &base)) {
            return false;
        }
        take_used(guest);
        fuzz_check(base == session->available);
    }
    return true;
}

static void open_session(VhostSession *session)
{
    *session = (VhostSession){
        .socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        .kick = eventfd(0, EFD_CLOEXEC),
        .call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .file = memfd_create("guest", MFD_CLOEXEC),
    };
    fuzz_check(session->socket >= 0 && session->kick >= 0 && session->call >= 0 && session->file >= 0);
    fuzz_check(ftruncate(session->file, MEMORY_BYTES) == 0);
    session->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, session->file, 0);
    fuzz_check(session->memory != MAP_FAILED);
}

static void close_session(VhostGuest *guest)
{
    VhostSession *session = guest->session;

    for (unsigned i = 0; i < DEPTH; i++) {
        guest->doubts[i] |= session->pending[i] && type_of(guest, i) == VIRTIO_BLK_T_OUT;
    }
    close(session->socket);
    close(session->kick);
    close(session->call);
    close(session->file);
    munmap(session->memory, MEMORY_BYTES);
}

static void *guest_thread(void *opaque)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SCENARIO_VHOST_SOCKET };
    VhostGuest *guest = opaque;
    VhostSession session;
    bool good = true;

    fuzz_other_process();
    guest->session = &session;
    for (unsigned i = 0; good && i < guest->sessions; i++) {
        open_session(&session);
        good = connect(session.socket, (struct sockaddr *)&address, sizeof(address)) == 0 && do_rounds(guest);
        fuzz_check(good || guest->server->removed);
        close_session(guest);
    }
    qatomic_dec(&guest->server->running);
    event_notifier_set(&guest->server->ended);
    return NULL;
}

/* ---- the main thread's side */

static void guest_ended(EventNotifier *ended)
{
    event_notifier_test_and_clear(ended);
}

void scenario_vhost_begin(VhostServer *server)
{
    *server = (VhostServer){ 0 };
    fuzz_check(event_notifier_init(&server->ended, 0) == 0);
    event_notifier_set_handler(&server->ended, guest_ended);
}

void scenario_vhost_end(VhostServer *server)
{
    event_notifier_set_handler(&server->ended, NULL);
    event_notifier_cleanup(&server->ended);
}

void scenario_vhost_read(VhostGuest *guest, unsigned number, FuzzInput *in)
{
    static const VhostEnd ends[] = { VHOST_STOPS, VHOST_LEAVES, VHOST_LEAVES_EARLY, VHOST_STOPS };
    uint8_t first = fuzz_byte(in), second = fuzz_byte(in);

    *guest = (VhostGuest){
        .number = number,
        .rounds = 1 + (first & 3) % 3,
        .types = first >> 2,
        .end = ends[second & 3],
        .restarts_early = (second & 3) == 3,
        .sessions = second & 4 ? 2 : 1,
        .event_index = second & 8,
        .kicks_often = second & 16,
        .restarts = second & 32,
    };
}

void scenario_vhost_start(VhostServer *server, VhostGuest *guest)
{
    guest->server = server;
    guest->started = true;
    qatomic_inc(&server->running);
    qemu_thread_create(&guest->thread, "guest", guest_thread, guest, QEMU_THREAD_JOINABLE);
}

void scenario_vhost_join(VhostGuest *guest, const char *file)
{
    if (!guest->started) {
        return;
    }
    qemu_thread_join(&guest->thread);
    for (unsigned i = 0; i < DEPTH; i++) {
        uint8_t pattern = scenario_file_pattern(file, (guest->number * DEPTH + i) * BLOCK_BYTES, BLOCK_BYTES);

        fuzz_check(pattern == guest->patterns[i] || (guest->doubts[i] && pattern == (uint8_t)(guest->patterns[i] + 1)));
    }
}
