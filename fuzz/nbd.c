/*
 * Target nbd: coroutines of an io thread read from and write to a disk behind a network, whose server hangs up and refuses connections, while
 * the main thread drains, changes the graph, and takes the disk away.
 *
 * Invariants: each request ends once, and inside a drained section none is under way; what is read is what was written last, or what was
 * there before where a write failed; a request fails only where a connection was lost or refused, and waits for a new one no longer than it
 * is told to. The client connects again, at its own pace, and makes nobody wait for that: neither a section nor its end.
 *
 * The empty scenario is one request to a server that answers.
 */
#include <glib.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/nbd_client.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define SECTOR          512
#define LARGE           32768 /* two of them are in the way of a third one */
#define USERS_MAX       6u
#define OPERATIONS_MAX  6u
#define CONNECTIONS_MAX 4u /* of which each may end early; those after them stay */
#define RETRY_NS        1000000
#define DELAY_NS        3000000 /* two attempts and a half */
#define GRAIN_NS        1000 /* of fuzz_time_ns(), where the clock is a real one */

/* How many times as long the client may take for both. Real time is not spent on it. */
#ifdef WAKEFUZZ_SIMULATED
#define SLOW 1000u
#else
#define SLOW 1u
#endif

struct World;

typedef struct User {
    struct World *world;
    unsigned number, rounds;
    bool pauses, wrote;
    uint8_t *data;
} User;

/* One thread; serves a connection to its end, then the next. */
typedef struct Server {
    QemuThread thread;
    uint8_t *disk; /* of the thread */
    unsigned ends_after[CONNECTIONS_MAX]; /* hangs up when it gets the n-th request; 0: when the client does */
    bool lies; /* where it would hang up, it answers what nobody has asked */
    QemuMutex lock; /* of the rest */
    QemuCond changed;
    int next_fd;  /* -1: none */
    bool serving, awaited; /* a client; by the main thread */
    bool closing;
} Server;

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    Server server;
    size_t bytes;  /* of a request */
    unsigned slow; /* 1, or SLOW */
    bool delays;   /* requests wait for the connection */

    /* Of whoever connects; one after the other. */
    unsigned attempts, first_attempt; /* first: since the connection was lost */
    uint8_t refused;                  /* which of them are */
    bool takes_numbers;               /* a refused attempt leaves its descriptor's number to somebody else: */
    int spare_fd;                     /* -1: none */

    /* raw: */
    int troubles;       /* connections that were lost or refused */
    int connections;    /* that were made */
    int sections;       /* begun and ended: odd inside of what has sections */
    int calm;           /* sections, when the last connection was made */
    uint64_t failed_ns; /* when the last attempt failed after which the client has to pause; 0: none */
    int wakes;          /* that sections may have left for a pause that came later */
    User users[USERS_MAX];
    unsigned user_count;
} World;

static int in_section; /* raw: the main thread is inside a drained section */
static World *running;

/* Time that is measured is that of the simulation: else a thread may be kept from running for as long as you like. */
static bool later_than(uint64_t begin_ns, uint64_t limit_ns)
{
    return SLOW > 1 && fuzz_time_ns() - begin_ns > limit_ns;
}

/* ---- the server */

/* size bytes, or the end of the stream. */
static bool receive(int fd, void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t ret = recv(fd, (char *)buffer + done, size - done, 0);

        if (ret == 0 || (ret < 0 && errno != EINTR)) {
            return false;
        }
        done += ret > 0 ? (size_t)ret : 0;
    }
    return true;
}

static bool transmit(int fd, const void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t ret = send(fd, (const char *)buffer + done, size - done, MSG_NOSIGNAL);

        if (ret < 0 && errno != EINTR) {
            return false;
        }
        done += ret > 0 ? (size_t)ret : 0;
    }
    return true;
}

static bool serve_request(World *world, int fd, bool answers)
{
    Server *server = &world->server;
    NBDRequest request;
    NBDReply reply = { 0 };
    uint8_t *sector;

    if (!receive(fd, &request, sizeof(request))) {
        return false;
    }
    fuzz_check(!scenario_get(&in_section));
    fuzz_check(request.cookie != 0 && request.len == world->bytes && request.from < USERS_MAX * world->bytes);
    sector = server->disk + request.from;
    if (request.type == NBD_CMD_WRITE && !receive(fd, sector, world->bytes)) {
        return false;
    }
    if (!answers) {
        return false;
    }
    reply.cookie = request.cookie;
    return transmit(fd, &reply, sizeof(reply)) && (request.type == NBD_CMD_WRITE || transmit(fd, sector, world->bytes));
}

/* Then the client has to hang up. */
static void lie(int fd)
{
    NBDReply reply = { .cookie = NBD_REQUESTS_MAX };
    uint8_t rest[4096]; /* what it had sent before */
    ssize_t ret;

    transmit(fd, &reply, sizeof(reply));
    do {
        ret = recv(fd, rest, sizeof(rest), 0);
    } while (ret > 0 || (ret < 0 && errno == EINTR));
}

static void serve(World *world, int fd, unsigned ends_after)
{
    unsigned count = 1;

    while (serve_request(world, fd, count != ends_after)) {
        count++;
    }
    if (count == ends_after) {
        scenario_add(&world->troubles, 1);
        if (world->server.lies) {
            lie(fd);
        }
    }
    close(fd);
}

/* Wait for the next connection; -1 at the end. */
static int await_connection(Server *server)
{
    int fd;

    qemu_mutex_lock(&server->lock);
    server->serving = false;
    while (server->next_fd < 0 && !server->closing) {
        qemu_cond_wait(&server->changed, &server->lock);
    }
    fd = server->next_fd;
    server->next_fd = -1;
    server->serving = fd >= 0;
    qemu_mutex_unlock(&server->lock);
    return fd;
}

static void *server_thread(void *opaque)
{
    World *world = opaque;
    int fd;

    for (unsigned i = 0; (fd = await_connection(&world->server)) >= 0; i++) {
        serve(world, fd, i < CONNECTIONS_MAX ? world->server.ends_after[i] : 0);
    }
    return NULL;
}

/* The client has paused after an attempt that failed, but where a section has stopped it. The very first attempt is the main thread's. */
static void check_attempt(World *world, unsigned attempt)
{
    if (world->failed_ns && fuzz_time_ns() - world->failed_ns + GRAIN_NS < (uint64_t)RETRY_NS * world->slow) {
        fuzz_check(scenario_get(&world->wakes) > 0);
        scenario_add(&world->wakes, -1);
    }
    if (world->spare_fd >= 0) {
        fuzz_check(close(world->spare_fd) == 0); /* nobody else has closed it */
        world->spare_fd = -1;
    }
    world->failed_ns = 0;
    if (attempt < 8 && (world->refused >> attempt & 1)) {
        world->failed_ns = attempt > 0 ? fuzz_time_ns() : 0;
        if (world->takes_numbers) {
            world->spare_fd = eventfd(0, EFD_CLOEXEC);
            fuzz_check(world->spare_fd >= 0);
        }
    }
}

/* As connect() would, by whoever wants to be connected. */
static int connect_to_server(void *opaque)
{
    World *world = opaque;
    Server *server = &world->server;
    unsigned attempt = world->attempts++;
    int fds[2];

    check_attempt(world, attempt);
    if (attempt < 8 && (world->refused >> attempt & 1)) {
        scenario_add(&world->troubles, 1);
        return -ECONNREFUSED;
    }
    world->first_attempt = world->attempts;
    scenario_set(&world->calm, scenario_get(&world->sections));
    scenario_add(&world->connections, 1);
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    qemu_mutex_lock(&server->lock);
    fuzz_check(server->next_fd < 0); /* the one before was closed */
    server->next_fd = fds[1];
    qemu_cond_signal(&server->changed);
    if (server->awaited) {
        qemu_cond_broadcast(&server->changed);
    }
    qemu_mutex_unlock(&server->lock);
    return fds[0];
}

static void server_start(World *world)
{
    world->server.next_fd = -1;
    qemu_mutex_init(&world->server.lock);
    qemu_cond_init(&world->server.changed);
    qemu_thread_create(&world->server.thread, "server", server_thread, world, QEMU_THREAD_JOINABLE);
}

static void server_stop(Server *server)
{
    qemu_mutex_lock(&server->lock);
    server->closing = true;
    qemu_cond_signal(&server->changed);
    qemu_mutex_unlock(&server->lock);
    qemu_thread_join(&server->thread);
    qemu_cond_destroy(&server->changed);
    qemu_mutex_destroy(&server->lock);
}

/* ---- its users: coroutines */

static void check_result(World *world, int ret)
{
    fuzz_check(ret == 0 || (ret == -EIO && scenario_get(&world->troubles) > 0));
}

/* Time goes by while a request waits for the connection, once for each that comes; a section stops the client, and its request. */
static int coroutine_fn request(User *user, bool writes)
{
    World *world = user->world;
    int64_t offset = (int64_t)(user->number * world->bytes);
    int sections = scenario_get(&world->sections), connections = scenario_get(&world->connections);
    uint64_t begin_ns = fuzz_time_ns();
    int ret = writes ? blk_co_pwrite(world->blk, offset, (int64_t)world->bytes, user->data, 0)
                     : blk_co_pread(world->blk, offset, (int64_t)world->bytes, user->data, 0);

    check_result(world, ret);
    if (sections % 2 == 0 && sections == scenario_get(&world->sections)) {
        unsigned waits = world->delays ? (unsigned)(scenario_get(&world->connections) - connections) + (ret < 0) : 0;

        fuzz_check(!later_than(begin_ns, ((uint64_t)waits * DELAY_NS + RETRY_NS) * world->slow));
    }
    return ret;
}

/* Nobody else uses the sector. A write that fails may have been done all the same. */
static void coroutine_fn write_and_read(User *user, uint8_t pattern)
{
    uint8_t before = user->data[0], first;
    int written, ret;

    memset(user->data, pattern, user->world->bytes);
    written = request(user, true);
    if (user->pauses) {
        scenario_pause();
    }
    ret = request(user, false);
    if (ret < 0) {
        user->wrote = false; /* nobody knows what is there */
        return;
    }
    first = user->data[0];
    fuzz_check(memcmp(user->data, user->data + 1, user->world->bytes - 1) == 0);
    fuzz_check(first == pattern || (written < 0 && (first == before || !user->wrote)));
    user->wrote = true;
}

static void coroutine_fn user_entry(void *opaque)
{
    User *user = opaque;

    user->wrote = true; /* zeros */
    for (unsigned i = 0; i < user->rounds; i++) {
        write_and_read(user, (uint8_t)(1 + user->number * 8 + i));
    }
}

/* ---- the main thread */

/* Time goes by in it. Requests that come are counted for a moment, and then wait in the backend's queue. */
static void inside_section(void)
{
    scenario_set(&in_section, 1);
    aio_poll(qemu_get_aio_context(), false);
    scenario_set(&in_section, 0);
}

static void drain_once(World *world)
{
    bdrv_drained_begin(world->disk);
    inside_section();
    bdrv_drained_end(world->disk);
}

static void drain_twice(World *world)
{
    drain_once(world);
    drain_once(world);
}

static void drain_all(World *world)
{
    (void)world;
    bdrv_drain_all_begin();
    inside_section();
    bdrv_drain_all_end();
}

static void change_graph(World *world)
{
    BlockDriverState *filter = bdrv_new_filter("filter", bdrv_get_aio_context(world->disk), NULL);

    bdrv_append(filter, world->disk);
    bdrv_drop_filter(filter);
    bdrv_unref(filter);
}

static void turn(World *world)
{
    (void)world;
    main_loop_wait(true);
}

static void await_users(World *world)
{
    scenario_wait(&world->scenario);
}

/* Nothing but the client itself brings the connection back, whatever sections there were. After a lie it does not come back. */
static void await_connection_again(World *world)
{
    Server *server = &world->server;

    qemu_mutex_lock(&server->lock);
    server->awaited = true;
    while (!server->lies && !server->serving && server->next_fd < 0) {
        fuzz_reached("client-is-waited-for");
        qemu_cond_wait(&server->changed, &server->lock);
    }
    server->awaited = false;
    qemu_mutex_unlock(&server->lock);
}

/*
 * What has sections does not wait for time to pass: all that sleeps is woken. A long time passes only when nobody can run. But a connection may
 * be lost when the client knows of the section already, with requests that then wait for their delay. The bottom half of either end of a section
 * may leave a wake, and there may have been one.
 */
static void promptly(World *world, void (*operation)(World *), int sections)
{
    uint64_t begin_ns = fuzz_time_ns();
    int connections = scenario_get(&world->connections);

    scenario_add(&world->sections, 1);
    scenario_set(&world->wakes, 2 * sections + 2);
    operation(world);
    scenario_set(&world->wakes, 2);
    scenario_add(&world->sections, 1);
    if (world->slow > 1) {
        unsigned losses = world->delays ? 1 + (unsigned)(scenario_get(&world->connections) - connections) : 0;

        fuzz_check(!later_than(begin_ns, ((uint64_t)losses * DELAY_NS + RETRY_NS / 4) * world->slow));
    }
}

typedef struct Operation {
    void (*function)(World *);
    int sections;
} Operation;

static const Operation operations[] = {
    { drain_once, 1 },
    { drain_twice, 2 },
    { drain_all, 1 },
    { change_graph, 8 },
    { turn, 0 },
    { await_users, 0 },
    { await_connection_again, 0 },
};

static void operate(World *world, const Operation *operation)
{
    if (operation->sections) {
        promptly(world, operation->function, operation->sections);
    } else {
        operation->function(world);
    }
}

static void remove_disk(World *world)
{
    blk_remove_bs(world->blk);
    bdrv_unref(world->disk);
}

static void note_event(NBDClientEvent event)
{
    static const char *const names[] = {
        [NBD_REQUEST_BEGINS] = NULL,
        [NBD_REQUEST_WAITS_FOR_ROOM] = "request-waits-for-room",
        [NBD_REQUEST_WAITS_FOR_CONNECTION] = "request-waits-for-the-connection",
        [NBD_LOST_WITH_REQUESTS] = "connection-lost-with-requests",
        [NBD_CONNECTED_AGAIN] = "connected-again",
        [NBD_DELAY_IS_OVER] = "delay-is-over-for-those-that-wait",
        [NBD_DRAIN_LETS_WAITERS_GO] = "section-begins-while-requests-wait-for-the-connection",
        [NBD_DRAINED_WHILE_LOST] = "section-stops-the-client-from-connecting",
    };

    if (event == NBD_REQUEST_BEGINS) {
        fuzz_check(!scenario_get(&in_section));
    } else {
        fuzz_reached(names[event]);
    }
    if (event == NBD_DRAINED_WHILE_LOST) {
        running->failed_ns = 0;
    }
    if (event == NBD_DELAY_IS_OVER && scenario_get(&running->calm) % 2 == 0 &&
        scenario_get(&running->sections) == scenario_get(&running->calm)) {
        fuzz_check(running->attempts > running->first_attempt); /* it has tried */
    }
}

/* ---- the scenario */

static void read_user(FuzzInput *in, World *world, unsigned number)
{
    uint8_t flags = fuzz_byte(in);

    world->users[number] = (User){
        .world = world,
        .number = number,
        .rounds = 1 + (flags & 1),
        .pauses = flags & 2,
        .data = g_malloc0(world->bytes),
    };
}

static void run(FuzzInput *in)
{
    World world = { .first_attempt = 1, .spare_fd = -1, .wakes = 2 };
    uint8_t operation[OPERATIONS_MAX];
    unsigned user_count = fuzz_range(in, 1, USERS_MAX);
    uint8_t shape = fuzz_byte(in), ends;
    unsigned operation_count;
    NBDClientOptions options = {
        .max_requests = shape & 3 ? shape & 3 : NBD_REQUESTS_MAX,
        .connect = connect_to_server,
        .opaque = &world,
    };

    world.delays = shape & 4;
    world.slow = shape & 8 ? SLOW : 1;
    world.server.lies = shape & 16;
    world.bytes = shape & 32 ? LARGE : SECTOR;
    world.takes_numbers = shape & 64;
    options.bytes = (int64_t)(USERS_MAX * world.bytes);
    options.reconnect_delay_ns = world.delays ? (uint64_t)DELAY_NS * world.slow : 0;
    options.retry_ns = (uint64_t)RETRY_NS * world.slow;
    world.server.disk = g_malloc0(USERS_MAX * world.bytes);
    running = &world;
    world.refused = fuzz_byte(in);
    ends = fuzz_byte(in);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        world.server.ends_after[i] = ends >> (2 * i) & 3;
    }
    for (unsigned i = 0; i < user_count; i++) {
        read_user(in, &world, i);
    }
    operation_count = fuzz_choice(in, OPERATIONS_MAX + 1);
    for (unsigned i = 0; i < operation_count; i++) {
        operation[i] = (uint8_t)fuzz_choice(in, G_N_ELEMENTS(operations));
    }

    scenario_set(&in_section, 0);
    scenario_begin(&world.scenario, 1);
    nbd_client_trace_hook = note_event;
    server_start(&world);
    world.blk = blk_new(scenario_context(&world.scenario, 1));
    world.disk = bdrv_new_nbd("disk", scenario_context(&world.scenario, 1), &options);
    blk_insert_bs(world.blk, world.disk);
    for (unsigned i = 0; i < user_count; i++) {
        scenario_start(&world.scenario, 1, user_entry, &world.users[i]);
    }
    for (unsigned i = 0; i < operation_count; i++) {
        operate(&world, &operations[operation[i]]);
    }
    scenario_wait(&world.scenario);
    fuzz_check(blk_in_flight(world.blk) == 0);
    promptly(&world, remove_disk, 2);
    blk_unref(world.blk);
    fuzz_check(bdrv_node_count() == 0);
    server_stop(&world.server);
    scenario_end(&world.scenario);
    if (world.spare_fd >= 0) {
        fuzz_check(close(world.spare_fd) == 0);
    }
    for (unsigned i = 0; i < user_count; i++) {
        g_free(world.users[i].data);
    }
    g_free(world.server.disk);
}

static const char *const windows[] = {
    "request-waits-for-room",
    "request-waits-for-the-connection",
    "connection-lost-with-requests",
    "connected-again",
    "delay-is-over-for-those-that-wait",
    "section-begins-while-requests-wait-for-the-connection",
    "section-stops-the-client-from-connecting",
    "client-is-waited-for",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "nbd", .run = run, .disturbs = true, .windows = windows };
