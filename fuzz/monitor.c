/*
 * Target monitor: clients send QMP commands to one or two monitors at any moment, also while these are being cleaned up:
 * well-formed, malformed, in pieces, in and out of band; they hang up and come again. A vCPU emits events meanwhile, when a client
 * pokes it; connections may close just before it does. The devices may emit one as well, when their monitor has let go of them.
 *
 * Events may carry numbers: clients wait for them, read none for a while, and miss none. A console may take the devices over at the end.
 *
 * Invariants, beside those of the scenario's parts: the program ends only when somebody asks for it; a device is told when its front end
 * comes and goes; after the cleanup no event arrives.
 *
 * The empty scenario is one client that sends one ordinary command and asks the program to end: enough for QEMU's fc1a2ec7da.
 */
#include <glib.h>

#include "core/monitor.h"
#include "core/runstate.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario_console.h"
#include "fuzz/scenario_script.h"

#define MONITORS_MAX 2u
#define CLIENTS_MAX  3u

/* What else happens where events carry numbers. */
enum { VCPU_ENDS_LAST = 1, VCPU_GROWS_NUMB = 2, PROGRAM_IDLES = 4, CONSOLE_COMES = 8 };

typedef struct Device {
    Chardev *chr;
    bool emits, has_front_end;
    unsigned front_ends; /* that have gone */
} Device;

typedef struct World {
    Scenario scenario;
    unsigned monitor_count, client_count;
    Device devices[MONITORS_MAX];
    ScenarioScript clients[CLIENTS_MAX];
    unsigned clients_busy; /* raw */
    bool asked_to_end;     /* raw */
    uint8_t more;
    ScenarioVcpu vcpu;
} World;

/* ---- the scenario */

static void read_client(FuzzInput *in, World *world, unsigned number, bool cut_off)
{
    ScenarioScript *client = &world->clients[number];
    uint8_t flags = fuzz_byte(in);

    client->scenario = &world->scenario;
    client->vcpu = &world->vcpu;
    client->number = number;
    client->busy = &world->clients_busy;
    client->asked_to_end = &world->asked_to_end;
    client->fd = -1;
    client->input = g_string_new(NULL);
    client->chr = world->devices[number % world->monitor_count].chr;
    client->shares = world->client_count > world->monitor_count;
    client->hears = world->vcpu.counts;
    scenario_answers_init(&client->answers, world->client_count == 1);
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

/* Of STEP_HANG_UP: who notices that the client has gone. The vCPU keeps the main thread from its bottom halves meanwhile. */
enum { MONITOR_NOTICES = 1, VCPU_NOTICES_AFTER_AN_EVENT = 4 };

/* It negotiates more often than it may, and has gone before all that is refused: the next client may have come by then. */
static void let_give_up(ScenarioScript *client, uint8_t who_notices)
{
    client->negotiates = 2;
    client->step_count = STEPS_MAX;
    for (unsigned i = 0; i < STEPS_MAX - 1; i++) {
        client->steps[i] = (ScenarioStep){ .kind = STEP_COMMAND, .which = 1 };
    }
    client->steps[STEPS_MAX - 1] = (ScenarioStep){ .kind = STEP_HANG_UP, .which = who_notices };
}

/* It negotiates, asks something more, and wants to know. */
static void let_ask(ScenarioScript *client)
{
    client->waits = true;
    client->negotiates = MAX(client->negotiates, 1);
}

/* Of a device: the other monitors are told that this one has gone. */
static void front_end_comes_or_goes(void *opaque, bool open)
{
    Device *device = opaque;

    fuzz_check(device && device->has_front_end != open);
    device->has_front_end = open;
    device->front_ends += !open;
    if (!open && device->emits) {
        fuzz_reached("event-of-a-device-without-its-monitor");
        scenario_emit_event(0);
    }
}

static void read_scenario(FuzzInput *in, World *world)
{
    uint8_t shape = fuzz_byte(in);

    world->client_count = 1 + (shape & 3) % CLIENTS_MAX;
    if ((shape & 3) == 3) {
        world->vcpu.counts = true;
        world->client_count = 1 + (shape >> 2 & 1); /* each with a monitor of its own */
        world->more = fuzz_byte(in);
        world->vcpu.grows_numb = world->more & VCPU_GROWS_NUMB;
    }
    world->monitor_count = MIN(1u + (shape >> 2 & 1), world->client_count);
    for (unsigned i = 0; i < world->monitor_count; i++) {
        world->devices[i] = (Device){ .chr = qemu_chr_new_socket("monitor"), .emits = shape & 0x80 };
        qemu_chr_set_fe_open_func(world->devices[i].chr, front_end_comes_or_goes, &world->devices[i]);
    }
    for (unsigned i = 0; i < world->client_count; i++) {
        read_client(in, world, i, shape & 0x40);
    }
    if (shape & 0x20 && world->clients[0].shares) {
        let_give_up(&world->clients[0], shape & 0x10 ? VCPU_NOTICES_AFTER_AN_EVENT : MONITOR_NOTICES);
        for (unsigned i = 1; shape & 0x08 && i < world->client_count; i++) {
            let_ask(&world->clients[i]);
        }
    }
}

static void start(World *world)
{
    scenario_vcpu_init(&world->vcpu);
    monitor_init_globals();
    for (unsigned i = 0; i < world->monitor_count; i++) {
        monitor_init_qmp(world->devices[i].chr);
    }
    world->clients_busy = world->client_count;
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_script_start(&world->clients[i]);
    }
    scenario_vcpu_start(&world->vcpu);
}

static void close_devices(World *world)
{
    for (unsigned i = 0; i < world->monitor_count; i++) {
        Device *device = &world->devices[i];

        fuzz_check(!device->has_front_end && device->front_ends == 1);
        if (world->more & CONSOLE_COMES) {
            scenario_console_visit(device->chr, scenario_script_stays(&world->clients[i]));
            fuzz_check(!device->has_front_end && device->front_ends == 2);
        } else {
            qemu_chr_socket_close(device->chr);
        }
    }
}

/* The order of qemu_cleanup(): vCPUs, monitors, devices. Where it is no vCPU, it may still emit events while monitors go. */
static void stop(World *world)
{
    if (!(world->more & VCPU_ENDS_LAST)) {
        scenario_vcpu_stop(&world->vcpu);
        for (unsigned i = 0; i < world->client_count; i++) {
            scenario_script_note_end(&world->clients[i]);
        }
    }
    scenario_set(&world->scenario.ending, 1);
    for (unsigned i = 0; i < world->client_count; i++) {
        if (scenario_script_waits(&world->clients[i])) {
            fuzz_reached("cleanup-with-commands-unanswered");
        }
    }
    monitor_cleanup();
    if (world->more & VCPU_ENDS_LAST) {
        fuzz_reached("events-while-monitors-go");
        scenario_vcpu_stop(&world->vcpu);
    }
    scenario_emit_event(0);
    qapi_event_emit(QAPI_EVENT_SHUTDOWN, NULL);
    close_devices(world);
    for (unsigned i = 0; i < world->client_count; i++) {
        scenario_script_join(&world->clients[i]);
    }
    for (unsigned i = 0; i < world->monitor_count; i++) {
        qemu_chr_delete(world->devices[i].chr);
    }
    scenario_vcpu_free(&world->vcpu);
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
    fuzz_check(__atomic_load_n(&world->asked_to_end, __ATOMIC_SEQ_CST));
    if (world->more & PROGRAM_IDLES) {
        scenario_idle();
    }
    stop(world);
    scenario_end(&world->scenario);
    g_free(world);
}

static const char *const windows[] = {
    "awaited-events-arrive",
    "cleanup-with-commands-unanswered",
    "command-during-cleanup",
    "command-in-pieces",
    "connection-closes-before-an-event",
    "console-comes-while-a-client-is-there",
    "event-arrives",
    "event-of-a-device-without-its-monitor",
    "events-while-monitors-go",
    "hang-up-with-commands-unanswered",
    "next-client-is-served",
    "out-of-band-overtakes",
    NULL,
};

const FuzzTarget fuzz_target = { .name = "monitor", .run = run, .windows = windows };
