/*
 * Target nbd: coroutines of an io thread read from and write to a disk behind a network, whose server hangs up and refuses connections, while
 * the main thread drains, changes the graph, and takes the disk away.
 *
 * Invariants: each request ends once, and inside a drained section none is under way; what is read is what was written last, or what was
 * there before where a write failed; a request fails only where a connection was lost or refused.
 *
 * The empty scenario is one request to a server that answers.
 */
#include <glib.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/block_backend.h"
#include "core/block_drain.h"
#include "core/block_drivers.h"
#include "core/nbd_client.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define SECTOR          512
#define USERS_MAX       6u
#define OPERATIONS_MAX  6u
#define CONNECTIONS_MAX 4u /* of which each may end early; those after them stay */
#define RETRY_NS        1000000
#define DELAY_NS        3000000 /* two attempts and a half */

struct World;

typedef struct User {
    struct World *world;
    unsigned number, rounds;
    bool pauses, wrote;
    uint8_t data[SECTOR];
} User;

/* One thread; serves a connection to its end, then the next. */
typedef struct Server {
    QemuThread thread;
    uint8_t disk[USERS_MAX][SECTOR]; /* of the thread */
    unsigned ends_after[CONNECTIONS_MAX]; /* hangs up when it gets the n-th request; 0: when the client does */
    QemuMutex lock; /* of the rest */
    QemuCond changed;
    int next_fd;  /* -1: none */
    bool closing;
} Server;

typedef struct World {
    Scenario scenario;
    BlockBackend *blk;
    BlockDriverState *disk;
    Server server;
    unsigned attempts; /* to connect; one after the other */
    uint8_t refused;   /* which of them are */
    int troubles;      /* raw: connections that were lost or refused */
    User users[USERS_MAX];
    unsigned user_count;
} World;

static int in_section; /* raw: the main thread is inside a drained section */

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
    fuzz_check(request.cookie != 0 && request.len == SECTOR && request.from < sizeof(server->disk));
    sector = server->disk[request.from / SECTOR];
    if (request.type == NBD_CMD_WRITE && !receive(fd, sector, SECTOR)) {
        return false;
    }
    if (!answers) {
        return false;
    }
    reply.cookie = request.cookie;
    return transmit(fd, &reply, sizeof(reply)) && (request.type == NBD_CMD_WRITE || transmit(fd, sector, SECTOR));
}

static void serve(World *world, int fd, unsigned ends_after)
{
    unsigned count = 1;

    while (serve_request(world, fd, count != ends_after)) {
        count++;
    }
    if (count == ends_after) {
        scenario_add(&world->troubles, 1);
    }
    close(fd);
}

/* Wait for the next connection; -1 at the end. */
static int await_connection(Server *server)
{
    int fd;

    qemu_mutex_lock(&server->lock);
    while (server->next_fd < 0 && !server->closing) {
        qemu_cond_wait(&server->changed, &server->lock);
    }
    fd = server->next_fd;
    server->next_fd = -1;
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

/* As connect() would, by whoever wants to be connected. */
static int connect_to_server(void *opaque)
{
    World *world = opaque;
    Server *server = &world->server;
    unsigned attempt = world->attempts++;
    int fds[2];

    if (attempt < 8 && (world->refused >> attempt & 1)) {
        scenario_add(&world->troubles, 1);
        return -ECONNREFUSED;
    }
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    qemu_mutex_lock(&server->lock);
    fuzz_check(server->next_fd < 0); /* the one before was closed */
    server->next_fd = fds[1];
    qemu_cond_signal(&server->changed);
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

/* Nobody else uses the sector. A write that fails may have been done all the same. */
static void coroutine_fn write_and_read(User *user, uint8_t pattern)
{
    World *world = user->world;
    int64_t offset = (int64_t)user->number * SECTOR;
    uint8_t before = user->data[0], first;
    int written, ret;

    memset(user->data, pattern, SECTOR);
    written = blk_co_pwrite(world->blk, offset, SECTOR, user->data, 0);
    check_result(world, written);
    if (user->pauses) {
        scenario_pause();
    }
    ret = blk_co_pread(world->blk, offset, SECTOR, user->data, 0);
    check_result(world, ret);
    if (ret < 0) {
        user->wrote = false; /* nobody knows what is there */
        return;
    }
    first = user->data[0];
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

static void (*const operations[])(World *) = { drain_once, drain_twice, drain_all, change_graph, turn, await_users };

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
    };
}

static void run(FuzzInput *in)
{
    World world = { 0 };
    uint8_t operation[OPERATIONS_MAX];
    unsigned user_count = fuzz_range(in, 1, USERS_MAX);
    uint8_t shape = fuzz_byte(in), ends;
    unsigned operation_count;
    NBDClientOptions options = {
        .bytes = USERS_MAX * SECTOR,
        .max_requests = shape & 3 ? shape & 3 : NBD_REQUESTS_MAX,
        .reconnect_delay_ns = shape & 4 ? DELAY_NS : 0,
        .retry_ns = RETRY_NS,
        .connect = connect_to_server,
        .opaque = &world,
    };

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
        operations[operation[i]](&world);
    }
    scenario_wait(&world.scenario);
    fuzz_check(blk_in_flight(world.blk) == 0);
    blk_remove_bs(world.blk);
    bdrv_unref(world.disk);
    blk_unref(world.blk);
    fuzz_check(bdrv_node_count() == 0);
    server_stop(&world.server);
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "request-waits-for-room",
    "request-waits-for-the-connection",
    "connection-lost-with-requests",
    "connected-again",
    "delay-is-over-for-those-that-wait",
    "section-begins-while-requests-wait-for-the-connection",
    "section-stops-the-client-from-connecting",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "nbd", .run = run, .disturbs = true, .windows = windows };
