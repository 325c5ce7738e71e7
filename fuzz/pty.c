/*
 * Target pty: a console on a terminal that greets whoever opens it, and answers; clients open the terminal, type, hang up, at any moment, while
 * a guest writes to the console.
 *
 * Invariants: OPENED and CLOSED come in turn; the first that a client reads is the greeting, once; each key of a client that waits is answered
 * once; nobody is left waiting.
 *
 * The empty scenario is one client that opens the terminal and waits for the greeting.
 */
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/chardev_pty.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define CLIENTS_MAX   3u
#define ROUNDS_MAX    2u
#define RECURSION_MAX 32u /* the fixed core makes no turn: a write inside of the event finds the state known */

static const char greeting[] = "console\r\n";

enum { KEY = 'x', ANSWER = 'X', OUTPUT = 'g' };

typedef struct World World;

typedef struct Client {
    World *world;
    QemuThread thread;
    unsigned rounds; /* how often it opens the terminal */
    unsigned keys;   /* that it types each time */
    bool impatient;  /* it does not wait for anything */
    int fd;
    size_t greeted; /* bytes of the greeting */
} Client;

struct World {
    Scenario scenario;
    PtyChardev *chr;
    Client clients[CLIENTS_MAX];
    unsigned client_count;
    QemuThread guest;
    unsigned guest_writes;
    /* Under the big lock. */
    bool open, guest_is_writing;
    unsigned threads_left;
};

/* ---- the console: under the big lock */

static void console_event(void *opaque, QEMUChrEvent event)
{
    World *world = opaque;
    bool opened = event == CHR_EVENT_OPENED;

    if (opened) {
        fuzz_reached(world->guest_is_writing ? "client-is-found-by-a-write" : "client-is-found-by-the-timer");
        pty_chr_write(world->chr, (const uint8_t *)greeting, (int)strlen(greeting));
    }

    /* After the greeting: what becomes of one that has the device tell us again is the finding. */
    fuzz_check(world->open != opened);
    world->open = opened;
}

static void console_read(void *opaque, const uint8_t *buf, int size)
{
    World *world = opaque;

    for (int i = 0; i < size; i++) {
        static const uint8_t answer = ANSWER;

        fuzz_check(buf[i] == KEY);
        pty_chr_write(world->chr, &answer, 1);
    }
}

/* ---- threads */

/* The main loop looks at threads_left when it is told. */
static void thread_ends(World *world)
{
    bql_lock();
    world->threads_left--;
    qemu_notify_event();
    bql_unlock();
}

static void *guest_thread(void *opaque)
{
    static const uint8_t output = OUTPUT;
    World *world = opaque;

    for (unsigned i = 0; i < world->guest_writes; i++) {
        int ret;

        bql_lock();
        world->guest_is_writing = true;
        ret = pty_chr_write(world->chr, &output, 1);
        world->guest_is_writing = false;
        if (ret == 0 && !world->open) {
            fuzz_reached("guest-writes-to-nobody");
        }
        bql_unlock();
    }
    thread_ends(world);
    return NULL;
}

/* The next byte; what comes before it is the greeting, from its start, and what the guest has written. */
static void await(Client *client, char wanted)
{
    char byte;

    do {
        fuzz_check(recv(client->fd, &byte, 1, 0) == 1);
        if (client->greeted < strlen(greeting)) {
            fuzz_check(byte == greeting[client->greeted++]);
        } else {
            fuzz_check(byte == OUTPUT || byte == wanted);
        }
    } while (byte != wanted);
}

static void type(Client *client)
{
    static const char key = KEY;

    fuzz_check(send(client->fd, &key, 1, MSG_NOSIGNAL) == 1);
    if (!client->impatient) {
        await(client, ANSWER);
    }
}

static void open_and_type(Client *client)
{
    int pair[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    client->fd = pair[0];
    client->greeted = 0;
    qemu_chr_open_pty(client->world->chr, pair[1]);
    if (!client->impatient) {
        await(client, '\n');
    }
    for (unsigned i = 0; i < client->keys; i++) {
        type(client);
    }
    close(client->fd);
}

static void *client_thread(void *opaque)
{
    Client *client = opaque;

    for (unsigned i = 0; i < client->rounds; i++) {
        open_and_type(client);
    }
    thread_ends(client->world);
    return NULL;
}

/* ---- the scenario */

static void read_scenario(FuzzInput *in, World *world)
{
    uint8_t shape = fuzz_byte(in);

    world->client_count = 1 + (shape & 3) % CLIENTS_MAX;
    world->guest_writes = shape >> 2 & 7;
    for (unsigned i = 0; i < world->client_count; i++) {
        uint8_t flags = fuzz_byte(in);

        world->clients[i].world = world;
        world->clients[i].keys = flags & 3;
        world->clients[i].rounds = 1 + (flags >> 2) % ROUNDS_MAX;
        world->clients[i].impatient = flags & 8;
    }
}

static void run(FuzzInput *in)
{
    World world = { 0 };

    read_scenario(in, &world);
    scenario_begin(&world.scenario, 0);
    world.chr = qemu_chr_new_pty(console_read, console_event, &world);
    world.threads_left = world.client_count + 1;
    qemu_thread_create(&world.guest, "vcpu", guest_thread, &world, QEMU_THREAD_JOINABLE);
    for (unsigned i = 0; i < world.client_count; i++) {
        qemu_thread_create(&world.clients[i].thread, "client", client_thread, &world.clients[i], QEMU_THREAD_JOINABLE);
    }
    while (world.threads_left) {
        main_loop_wait(false);
    }
    bql_unlock();
    qemu_thread_join(&world.guest);
    for (unsigned i = 0; i < world.client_count; i++) {
        qemu_thread_join(&world.clients[i].thread);
    }
    bql_lock();
    qemu_chr_free_pty(world.chr);
    scenario_end(&world.scenario);
}

static const char *const windows[] = {
    "client-is-found-by-a-write",
    "client-is-found-by-the-timer",
    "guest-writes-to-nobody",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "pty", .run = run, .recursion_max = RECURSION_MAX, .windows = windows };
