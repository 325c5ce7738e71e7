/*
 * Target monitor: clients send QMP commands to one or two monitors at any moment, also while these are being cleaned up:
 * well-formed, malformed, in pieces, in and out of band; they hang up and come again. A vCPU emits events meanwhile, when a client
 * pokes it; connections may close just before it does.
 *
 * Invariants: each command is answered exactly once, in order (out of band may overtake), unless the client hangs up or the cleanup
 * closes the connection before, and nobody else does; what a client reads is whole lines of JSON; after the cleanup no event arrives.
 *
 * The empty scenario is one client that sends one ordinary command and asks the program to end: enough for QEMU's fc1a2ec7da.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/chardev.h"
#include "core/monitor.h"
#include "core/qmp_json.h"
#include "core/runstate.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define MONITORS_MAX    2u
#define CLIENTS_MAX     3u
#define STEPS_MAX       6u
#define SENT_MAX        16u
#define RAW_MAX         24u
#define LONG_EVENT_SIZE 24000u

typedef enum StepKind {
    STEP_COMMAND,
    STEP_MALFORMED,
    STEP_WAIT,
    STEP_HANG_UP,
    STEP_COME_AGAIN,
    STEP_END_PROGRAM,
    STEP_RAW,
    STEP_BURST,
    STEP_POKE_VCPU,
    STEP_KINDS,
} StepKind;

typedef struct Step {
    StepKind kind;
    uint8_t which, pieces;
    uint8_t raw[RAW_MAX];
    size_t raw_size;
} Step;

/* What a client wants from the vCPU. */
typedef struct Poke {
    uint8_t how;    /* to emit */
    uint8_t before; /* so many events come before that one */
    int hangs_up;   /* the client's end of the socket, to be closed just before that one; 0: none */
} Poke;

typedef struct World World;

typedef struct Client {
    World *world;
    QemuThread thread;
    Chardev *chr;
    bool shares;  /* another client wants the same monitor: do not stay */
    unsigned negotiates; /* first of all: 1 for commands, 2 for out-of-band too; else not */
    bool waits;   /* for all its answers */
    uint8_t cut_off; /* after its steps the vCPU closes its connection; see hang_up_step(); 0: not */
    /* Each line that comes is about what this connection has sent. Not so where a connection came before: its last answer goes to
     * whoever is there when it is ready, as in QEMU. */
    bool strict;
    bool alien; /* has sent bytes of the input: nobody knows what they do to its commands */
    unsigned step_count;
    Step steps[STEPS_MAX];
    int fd; /* -1: not connected */
    GString *input;
    unsigned connections, first_id;
    unsigned sent, in_band_next, answered; /* of this connection */
    unsigned unanswered; /* for a window: no point */
    bool out_of_band[SENT_MAX], has_answer[SENT_MAX], anonymous[SENT_MAX];
} Client;

struct World {
    Scenario scenario;
    unsigned monitor_count, client_count;
    Chardev *chrs[MONITORS_MAX];
    Client clients[CLIENTS_MAX];
    QemuThread vcpu;
    QemuSemaphore pokes;
    unsigned poke_count;
    Poke poked[CLIENTS_MAX * (STEPS_MAX + 1)]; /* one for each step, one for the end */
    bool vcpu_ends;
    /* For windows and invariants: no points, no part of the program. */
    unsigned clients_busy;
    bool cleaning;
};

/* Each is answered once. The first is the empty scenario's: an ordinary command that is always there. */
static const char *const commands[] = {
    "{\"execute\":\"qmp_capabilities\"",
    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}",
    "{\"execute\":\"query-commands\"",
    "{\"execute\":\"query-status\"",
    "{\"execute\":\"x-sleep\"",
    "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":5}",
    "{\"execute\":\"stop\"",
    "{\"execute\":\"cont\"",
    "{\"execute\":\"migrate\"",
    "{\"execute\":\"migrate-pause\"",
    "{\"exec-oob\":\"migrate-pause\"",
    "{\"exec-oob\":\"query-status\"",
    "{\"execute\":\"no-such\"",
    "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":\"long\"}",
    "{\"execute\":\"quit\"",
};

/* Each is answered by so many errors without an id. */
static const struct {
    const char *text;
    unsigned answers;
} malformed[] = {
    { "1}", 2 },     { "}", 1 },     { "[1]", 1 },    { "{\"execute\":1}", 1 }, { "{]", 1 },
    { "nope\n", 1 }, { "{}", 1 },    { "\xff\n", 1 }, { "{\"a\":\"\x01\n", 1 }, { "\"text\"", 1 },
    { "-\n\n", 1 },  { "true]", 2 },
};

/* A request of two bytes. */
enum { SHORTEST = 6 };

/* ---- a client: connecting and sending */

static void note_unanswered(Client *client)
{
    __atomic_store_n(&client->unanswered, client->sent - client->answered, __ATOMIC_SEQ_CST);
}

static void client_connect(Client *client)
{
    int pair[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    client->fd = pair[0];
    client->sent = client->in_band_next = client->answered = 0;
    client->alien = false;
    client->strict = !client->shares && client->connections == 0;
    client->first_id = (unsigned)(client - client->world->clients) * 1000 + client->connections++ * SENT_MAX;
    g_string_truncate(client->input, 0);
    memset(client->has_answer, 0, sizeof(client->has_answer));
    qemu_chr_socket_connect(client->chr, pair[1]);
}

static void client_hang_up(Client *client)
{
    if (client->fd >= 0) {
        if (client->answered < client->sent) {
            fuzz_reached("hang-up-with-commands-unanswered");
        }
        close(client->fd);
        client->fd = -1;
    }
}

/* Bytes in a number of pieces; other threads may run between them. */
static void send_pieces(Client *client, const char *bytes, size_t size, unsigned pieces)
{
    size_t piece = MAX(size / (pieces + 1), 1);

    if (__atomic_load_n(&client->world->cleaning, __ATOMIC_SEQ_CST)) {
        fuzz_reached("command-during-cleanup");
    }
    while (size && client->fd >= 0) {
        ssize_t done = send(client->fd, bytes, MIN(piece, size), MSG_NOSIGNAL);

        if (done < 0) {
            fuzz_check(errno == EPIPE);
            return;
        }
        bytes += done;
        size -= (size_t)done;
        if (size && pieces) {
            fuzz_reached("command-in-pieces");
        }
    }
}

static void send_command(Client *client, unsigned which, unsigned pieces)
{
    char *text;
    unsigned id = client->sent;

    if (client->fd < 0 || id == SENT_MAX) {
        return;
    }
    client->out_of_band[id] = g_str_has_prefix(commands[which], "{\"exec-oob\"");
    client->anonymous[id] = false;
    client->sent++;
    note_unanswered(client);
    text = g_strdup_printf("%s,\"id\":%u}", commands[which], client->first_id + id);
    send_pieces(client, text, strlen(text), pieces);
    g_free(text);
}

static void send_malformed(Client *client, unsigned which, unsigned pieces)
{
    if (client->fd < 0 || client->sent + malformed[which].answers > SENT_MAX) {
        return;
    }
    for (unsigned i = 0; client->strict && i < malformed[which].answers; i++) {
        client->out_of_band[client->sent] = false;
        client->anonymous[client->sent] = true;
        client->sent++;
    }
    send_pieces(client, malformed[which].text, strlen(malformed[which].text), pieces);
}

/* ---- a client: answers */

static void check_answer(Client *client, JsonObject *object)
{
    unsigned id;

    while (client->in_band_next < client->sent && client->out_of_band[client->in_band_next]) {
        client->in_band_next++;
    }
    if (!json_object_has_member(object, "id")) {
        if (!client->strict) {
            return;
        }
        fuzz_check(json_object_has_member(object, "error"));
        fuzz_check(client->in_band_next < client->sent && client->anonymous[client->in_band_next]);
        id = client->in_band_next;
    } else {
        id = (unsigned)json_object_get_int_member(object, "id") - client->first_id;
        if (!client->strict && id >= client->sent) {
            return;
        }
        fuzz_check(id < client->sent && !client->has_answer[id]);
    }
    if (client->out_of_band[id]) {
        if (id > client->in_band_next && client->in_band_next < client->sent) {
            fuzz_reached("out-of-band-overtakes");
        }
    } else {
        fuzz_check(id == client->in_band_next);
        client->in_band_next++;
    }
    client->has_answer[id] = true;
    client->answered++;
    note_unanswered(client);
}

static void take_line(Client *client, const char *line)
{
    JsonNode *node = qmp_json_parse(line, NULL);
    JsonObject *object;

    if (!node && !client->strict) {
        return; /* the rest of a line to the one before */
    }
    fuzz_check(node && JSON_NODE_HOLDS_OBJECT(node));
    object = json_node_get_object(node);
    if (json_object_has_member(object, "QMP") && !client->strict) {
        fuzz_reached("next-client-is-served");
    }
    if (json_object_has_member(object, "event")) {
        fuzz_reached("event-arrives");
        fuzz_check(strcmp(json_object_get_string_member(object, "event"), "SHUTDOWN") != 0);
    } else if (!json_object_has_member(object, "QMP") && !client->alien) {
        fuzz_check(json_object_has_member(object, "return") != json_object_has_member(object, "error"));
        check_answer(client, object);
    }
    json_node_unref(node);
}

/* Read what comes next and take the lines that are complete. Returns false at the end of the stream, which only the cleanup makes: a
 * monitor hangs up on nobody. */
static bool read_some(Client *client)
{
    char buffer[1024];
    ssize_t size = recv(client->fd, buffer, sizeof(buffer), 0);
    char *end;

    if (size <= 0) {
        fuzz_check(__atomic_load_n(&client->world->cleaning, __ATOMIC_SEQ_CST));
        return false;
    }
    g_string_append_len(client->input, buffer, size);
    while ((end = strchr(client->input->str, '\n'))) {
        *end = '\0';
        take_line(client, client->input->str);
        g_string_erase(client->input, 0, end - client->input->str + 1);
    }
    return true;
}

static void wait_for_answers(Client *client, unsigned count)
{
    while (client->fd >= 0 && !client->alien && client->answered < MIN(count, client->sent)) {
        if (!read_some(client)) {
            client_hang_up(client);
        }
    }
}

/* ---- the vCPU */

static void poke_vcpu(World *world, uint8_t how, uint8_t before, int hangs_up)
{
    Poke *poke = &world->poked[__atomic_fetch_add(&world->poke_count, 1, __ATOMIC_SEQ_CST)];

    __atomic_store_n(&poke->how, how, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->before, before, __ATOMIC_SEQ_CST);
    __atomic_store_n(&poke->hangs_up, hangs_up, __ATOMIC_SEQ_CST);
    qemu_sem_post(&world->pokes);
}

/* Close the connection that a client has left to us; there may be none. */
static void hang_up_for(Poke *poke)
{
    int fd = __atomic_exchange_n(&poke->hangs_up, 0, __ATOMIC_SEQ_CST);

    if (fd) {
        fuzz_reached("connection-closes-before-an-event");
        close(fd);
    }
}

static void emit(uint8_t how)
{
    JsonObject *data = json_object_new();

    if (how & 1) {
        char *text = g_strnfill(LONG_EVENT_SIZE, 'x');

        json_object_set_string_member(data, "offset", text);
        g_free(text);
    }
    qapi_event_emit(how & 2 ? QAPI_EVENT_RTC_CHANGE : QAPI_EVENT_RESUME, data);
    json_object_unref(data);
}

static void *vcpu_thread(void *opaque)
{
    World *world = opaque;

    for (unsigned i = 0;; i++) {
        Poke *poke = &world->poked[i];

        qemu_sem_wait(&world->pokes);
        if (__atomic_load_n(&world->vcpu_ends, __ATOMIC_SEQ_CST)) {
            return NULL;
        }
        for (unsigned before = __atomic_load_n(&poke->before, __ATOMIC_SEQ_CST); before; before--) {
            bql_lock();
            emit(0);
            bql_unlock();
        }
        bql_lock();
        hang_up_for(poke);
        emit(__atomic_load_n(&poke->how, __ATOMIC_SEQ_CST));
        bql_unlock();
    }
}

/* ---- a client: its life */

/*
 * The end of a connection is noticed by the monitor's thread, or by a thread that writes: mostly there is one, the vCPU. Where the
 * client leaves it to the vCPU to close the connection, that happens while this has the big lock and is about to write, after some
 * events that still arrive.
 */
static void hang_up_step(Client *client, uint8_t which)
{
    if (which & 1) {
        client_hang_up(client);
    } else if (which / 2 == 0 || client->fd < 0) {
        client_hang_up(client);
        poke_vcpu(client->world, 0, 0, 0);
    } else {
        poke_vcpu(client->world, 0, which / 2 - 1, client->fd);
        client->fd = -1;
    }
}

static void take_step(Client *client, const Step *step)
{
    switch (step->kind) {
    case STEP_COMMAND:
        send_command(client, step->which % G_N_ELEMENTS(commands), step->pieces);
        break;
    case STEP_MALFORMED:
        send_malformed(client, step->which % G_N_ELEMENTS(malformed), step->pieces);
        break;
    case STEP_WAIT:
        wait_for_answers(client, client->sent);
        break;
    case STEP_HANG_UP:
        hang_up_step(client, step->which);
        break;
    case STEP_COME_AGAIN:
        client_hang_up(client);
        client_connect(client);
        break;
    case STEP_END_PROGRAM:
        qemu_system_shutdown_request();
        break;
    case STEP_RAW:
        client->alien = true;
        send_pieces(client, (const char *)step->raw, step->raw_size, step->pieces);
        break;
    case STEP_BURST: /* more than a queue holds */
        for (unsigned i = 0; i <= QMP_REQ_QUEUE_LEN_MAX; i++) {
            if (step->which & 1) {
                send_command(client, step->which / 2 % G_N_ELEMENTS(commands), 0);
            } else {
                send_malformed(client, SHORTEST, 0);
            }
        }
        break;
    case STEP_POKE_VCPU:
        poke_vcpu(client->world, step->which, 0, 0);
        break;
    default:
        g_assert_not_reached();
    }
}

static void negotiate(Client *client)
{
    if (client->negotiates) {
        send_command(client, client->negotiates - 1, 0);
        wait_for_answers(client, client->sent);
    }
}

static void *client_thread(void *opaque)
{
    Client *client = opaque;
    World *world = client->world;

    client_connect(client);
    negotiate(client);
    for (unsigned i = 0; i < client->step_count; i++) {
        take_step(client, &client->steps[i]);
    }
    if (client->cut_off && client->fd >= 0) {
        hang_up_step(client, client->cut_off);
    }
    if (client->waits) {
        wait_for_answers(client, client->sent);
    }
    if (client->shares) {
        client_hang_up(client);
    }
    if (__atomic_sub_fetch(&world->clients_busy, 1, __ATOMIC_SEQ_CST) == 0) {
        qemu_system_shutdown_request();
    }
    while (client->fd >= 0) {
        if (!read_some(client)) {
            client_hang_up(client);
        }
    }
    return NULL;
}

/* ---- the scenario */

static void read_client(FuzzInput *in, World *world, unsigned number, bool cut_off)
{
    Client *client = &world->clients[number];
    uint8_t flags = fuzz_byte(in);

    client->world = world;
    client->fd = -1;
    client->input = g_string_new(NULL);
    client->chr = world->chrs[number % world->monitor_count];
    client->shares = world->client_count > world->monitor_count;
    client->waits = (flags & 1) ^ (number > 0); /* who comes after another wants to know whether anybody is there */
    client->negotiates = (flags >> 1) % 3;
    if (cut_off) {
        client->negotiates = MAX(client->negotiates, 1);
        client->cut_off = (uint8_t)(2 + (flags >> 6) * 4);
    }
    client->step_count = 1 + (flags >> 3) % STEPS_MAX;
    for (unsigned i = 0; i < client->step_count; i++) {
        uint8_t which;

        client->steps[i].kind = fuzz_choice(in, STEP_KINDS);
        which = fuzz_byte(in);
        client->steps[i].which = which & 31;
        client->steps[i].pieces = which >> 5;
        if (client->steps[i].kind == STEP_RAW) {
            client->steps[i].raw_size = fuzz_bytes(in, client->steps[i].raw, fuzz_range(in, 1, RAW_MAX));
        }
    }
}

/* It negotiates more often than it may, and has gone before all that is refused: the next client may have come by then. */
static void let_give_up(Client *client)
{
    client->negotiates = 2;
    client->step_count = STEPS_MAX;
    for (unsigned i = 0; i < STEPS_MAX - 1; i++) {
        client->steps[i] = (Step){ .kind = STEP_COMMAND, .which = 1 };
    }
    client->steps[STEPS_MAX - 1] = (Step){ .kind = STEP_HANG_UP, .which = 1 };
}

static void read_scenario(FuzzInput *in, World *world)
{
    uint8_t shape = fuzz_byte(in);

    world->client_count = 1 + (shape & 3) % CLIENTS_MAX;
    world->monitor_count = MIN(1u + (shape >> 2 & 1), world->client_count);
    for (unsigned i = 0; i < world->monitor_count; i++) {
        world->chrs[i] = qemu_chr_new_socket("monitor");
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        read_client(in, world, i, shape & 0x40);
    }
    if (shape & 0x20 && world->clients[0].shares) {
        let_give_up(&world->clients[0]);
    }
}

static void start(World *world)
{
    qemu_sem_init(&world->pokes, 0);
    monitor_init_globals();
    for (unsigned i = 0; i < world->monitor_count; i++) {
        monitor_init_qmp(world->chrs[i]);
    }
    world->clients_busy = world->client_count;
    for (unsigned i = 0; i < world->client_count; i++) {
        qemu_thread_create(&world->clients[i].thread, "client", client_thread, &world->clients[i], QEMU_THREAD_JOINABLE);
    }
    qemu_thread_create(&world->vcpu, "vcpu", vcpu_thread, world, QEMU_THREAD_JOINABLE);
}

/* The order of qemu_cleanup(): vCPUs, monitors, devices. */
static void stop(World *world)
{
    bql_unlock();
    __atomic_store_n(&world->vcpu_ends, true, __ATOMIC_SEQ_CST);
    qemu_sem_post(&world->pokes);
    qemu_thread_join(&world->vcpu);
    bql_lock();
    __atomic_store_n(&world->cleaning, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < world->client_count; i++) {
        if (__atomic_load_n(&world->clients[i].unanswered, __ATOMIC_SEQ_CST) > 0) {
            fuzz_reached("cleanup-with-commands-unanswered");
        }
    }
    monitor_cleanup();
    emit(0);
    qapi_event_emit(QAPI_EVENT_SHUTDOWN, NULL);
    for (unsigned i = 0; i < world->monitor_count; i++) {
        qemu_chr_socket_close(world->chrs[i]);
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        qemu_thread_join(&world->clients[i].thread);
        g_string_free(world->clients[i].input, TRUE);
    }
    for (unsigned i = 0; i < world->poke_count; i++) {
        if (world->poked[i].hangs_up) {
            close(world->poked[i].hangs_up); /* the vCPU has ended before it came to it */
        }
    }
    for (unsigned i = 0; i < world->monitor_count; i++) {
        qemu_chr_delete(world->chrs[i]);
    }
    qemu_sem_destroy(&world->pokes);
    monitor_cleanup_globals();
}

static void run(FuzzInput *in)
{
    World *world = g_new0(World, 1);

    scenario_begin(&world->scenario, 0);
    read_scenario(in, world);
    start(world);
    do {
        main_loop_wait(false);
    } while (!main_loop_should_exit());
    stop(world);
    scenario_end(&world->scenario);
    g_free(world);
}

static const char *const windows[] = {
    "cleanup-with-commands-unanswered",
    "command-during-cleanup",
    "command-in-pieces",
    "connection-closes-before-an-event",
    "event-arrives",
    "hang-up-with-commands-unanswered",
    "next-client-is-served",
    "out-of-band-overtakes",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "monitor", .run = run, .windows = windows };
