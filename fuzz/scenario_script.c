#include "fuzz/scenario_script.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/monitor.h"
#include "core/qmp_json.h"
#include "core/runstate.h"
#include "core/timer.h"
#include "fuzz/fuzz.h"

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

/* ---- connecting and sending */

static void note_unanswered(ScenarioScript *client)
{
    __atomic_store_n(&client->unanswered, client->sent - client->answered, __ATOMIC_SEQ_CST);
}

/* Of the connection that was: its monitor has answered everything. */
static bool nothing_is_under_way(const ScenarioScript *client)
{
    return client->answers.is_known && client->answered == client->sent && (client->strict || !client->is_malformed);
}

static void hear_anew(ScenarioScript *client)
{
    scenario_set(&client->heard[0], 0);
    scenario_set(&client->heard[1], 0);
}

static void client_connect(ScenarioScript *client)
{
    int pair[2];

    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    client->fd = pair[0];
    scenario_answers_connected(&client->answers, client->connections == 0 ? !client->shares : nothing_is_under_way(client));
    client->sent = client->in_band_next = client->answered = 0;
    client->alien = client->is_malformed = false;
    client->greeted = false;
    memset(client->awaited, 0, sizeof(client->awaited));
    hear_anew(client);
    scenario_set(&client->listens_from, 0);
    scenario_set(&client->must_hear, 0);
    client->strict = !client->shares && client->connections == 0;
    client->first_id = client->number * 1000 + client->connections++ * SENT_MAX;
    g_string_truncate(client->input, 0);
    memset(client->has_answer, 0, sizeof(client->has_answer));
    qemu_chr_socket_connect(client->chr, pair[1]);
}

static void client_hang_up(ScenarioScript *client)
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
static void send_pieces(ScenarioScript *client, const char *bytes, size_t size, unsigned pieces)
{
    size_t piece = MAX(size / (pieces + 1), 1);

    if (scenario_is_ending(client->scenario)) {
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

static void note_asked_to_end(ScenarioScript *client)
{
    __atomic_store_n(client->asked_to_end, true, __ATOMIC_SEQ_CST);
}

static void ask_to_end(ScenarioScript *client)
{
    note_asked_to_end(client);
    qemu_system_shutdown_request();
}

static void send_command(ScenarioScript *client, ScenarioCommand command, unsigned pieces)
{
    char *text;
    unsigned id = client->sent;

    if (client->fd < 0 || id == SENT_MAX) {
        return;
    }
    client->out_of_band[id] = scenario_command_is_oob(command);
    client->anonymous[id] = false;
    client->sent++;
    note_unanswered(client);
    if (command == COMMAND_QUIT) {
        note_asked_to_end(client);
    }
    scenario_answers_sent(&client->answers, command, &client->asked[id]);
    text = g_strdup_printf("%s,\"id\":%u}", scenario_command_text(command), client->first_id + id);
    send_pieces(client, text, strlen(text), pieces);
    g_free(text);
}

static void send_malformed(ScenarioScript *client, unsigned which, unsigned pieces)
{
    if (client->fd < 0 || client->sent + malformed[which].answers > SENT_MAX) {
        return;
    }
    client->is_malformed = true;
    for (unsigned i = 0; client->strict && i < malformed[which].answers; i++) {
        client->out_of_band[client->sent] = false;
        client->anonymous[client->sent] = true;
        client->sent++;
    }
    send_pieces(client, malformed[which].text, strlen(malformed[which].text), pieces);
}

/* ---- answers */

static bool is_listening(const ScenarioScript *client)
{
    return client->hears && client->answers.is_known && client->answers.negotiated;
}

/* Which events without a limit are for this connection: those that are emitted from now on. */
static void note_listening(ScenarioScript *client)
{
    if (is_listening(client) && !scenario_get(&client->listens_from)) {
        scenario_set(&client->listens_from, scenario_get(&client->vcpu->numbers[0]) + 1);
    }
}

static void check_answer(ScenarioScript *client, JsonObject *object)
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
    if (!client->anonymous[id]) {
        scenario_answers_check(&client->answers, &client->asked[id], object);
        note_listening(client);
    }
    client->has_answer[id] = true;
    client->answered++;
    note_unanswered(client);
}

/* Nothing of what the vCPU emits is lost, or comes twice; of what is limited, the last one comes, and of one second one. */
static void check_event(ScenarioScript *client, JsonObject *object)
{
    const char *name = json_object_get_string_member(object, "event");
    bool limited = strcmp(name, "RTC_CHANGE") == 0;
    int number = scenario_event_number(object);

    fuzz_reached("event-arrives");
    fuzz_check(strcmp(name, "SHUTDOWN") != 0);
    fuzz_check(!client->strict || client->alien || client->answers.has_asked);
    if (limited) {
        fuzz_check(fuzz_time_ns() - client->born_ns >= client->limited_events * (uint64_t)NANOSECONDS_PER_SECOND);
        client->limited_events++;
    }
    if (number) {
        int before = scenario_get(&client->heard[limited]);

        fuzz_check(before == 0 || (limited ? number > before : number == before + 1));
        scenario_set(&client->heard[limited], number);
    }
}

static void take_line(ScenarioScript *client, const char *line)
{
    JsonNode *node = qmp_json_parse(line, NULL);
    JsonObject *object;

    if (!node && !client->strict) {
        return; /* the rest of a line to the one before */
    }
    fuzz_check(node && JSON_NODE_HOLDS_OBJECT(node));
    object = json_node_get_object(node);
    if (json_object_has_member(object, "QMP")) {
        client->greeted = true;
        hear_anew(client); /* what came before may be left from the connection before */
        if (!client->strict) {
            fuzz_reached("next-client-is-served");
        }
    }
    if (json_object_has_member(object, "event")) {
        check_event(client, object);
    } else if (!json_object_has_member(object, "QMP") && !client->alien) {
        fuzz_check(json_object_has_member(object, "return") != json_object_has_member(object, "error"));
        check_answer(client, object);
    }
    json_node_unref(node);
}

/* Read what comes next and take the lines that are complete. Returns false at the end of the stream, which only the cleanup makes: a
 * monitor hangs up on nobody. */
static bool read_some(ScenarioScript *client)
{
    char buffer[1024];
    ssize_t size = recv(client->fd, buffer, sizeof(buffer), 0);
    char *end;

    if (size <= 0) {
        fuzz_check(scenario_is_ending(client->scenario));
        fuzz_check(scenario_get(&client->heard[0]) >= scenario_get(&client->must_hear));
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

static void wait_for_answers(ScenarioScript *client, unsigned count)
{
    while (client->fd >= 0 && !client->alien && client->answered < MIN(count, client->sent)) {
        if (!read_some(client)) {
            client_hang_up(client);
        }
    }
}

/* The last one of each kind that the vCPU was asked for on this connection, but for so many. */
static bool events_have_come(const ScenarioScript *client, int missing)
{
    for (unsigned limited = 0; limited < 2; limited++) {
        const ScenarioPoke *poke = client->awaited[limited];
        int last = poke ? scenario_get(&poke->last) : 0;

        if (poke && (!last || scenario_get(&client->heard[limited]) < last - missing)) {
            return false;
        }
    }
    return true;
}

static void wait_for_events(ScenarioScript *client, int missing)
{
    bool awaits = client->awaited[0] || client->awaited[1];

    while (client->fd >= 0 && !events_have_come(client, missing)) {
        if (!read_some(client)) {
            client_hang_up(client);
        }
    }
    if (awaits && client->fd >= 0) {
        fuzz_reached("awaited-events-arrive");
    }
}

/* ---- its life */

static void poke_step(ScenarioScript *client, uint8_t how)
{
    const ScenarioPoke *poke = scenario_vcpu_poke(client->vcpu, how, 0, 0);

    if (client->fd >= 0 && is_listening(client)) {
        client->awaited[how & POKE_LIMITED ? 1 : 0] = poke;
    }
}

static void wait_step(ScenarioScript *client, uint8_t for_what)
{
    if (for_what & WAIT_FOR_EVENTS) {
        wait_for_events(client, for_what & WAIT_NOT_FOR_THE_LAST ? 1 : 0);
    }
    if (for_what & WAIT_A_SECOND) {
        g_usleep(G_USEC_PER_SEC);
    }
}

/*
 * The end of a connection is noticed by the monitor's thread, or by a thread that writes: mostly there is one, the vCPU. Where the
 * client leaves it to the vCPU to close the connection, that happens while this has the big lock and is about to write, after some
 * events that still arrive.
 */
static void hang_up_step(ScenarioScript *client, uint8_t which)
{
    if (which & 1) {
        client_hang_up(client);
    } else if (which / 2 == 0 || client->fd < 0) {
        client_hang_up(client);
        scenario_vcpu_poke(client->vcpu, 0, 0, 0);
    } else {
        scenario_vcpu_poke(client->vcpu, 0, which / 2 - 1, client->fd);
        client->fd = -1;
    }
}

static void take_step(ScenarioScript *client, const ScenarioStep *step)
{
    switch (step->kind) {
    case STEP_COMMAND:
        send_command(client, step->which % SCENARIO_COMMANDS, step->pieces);
        break;
    case STEP_MALFORMED:
        send_malformed(client, step->which % G_N_ELEMENTS(malformed), step->pieces);
        break;
    case STEP_WAIT:
        wait_for_answers(client, client->sent);
        if (client->hears) {
            wait_step(client, step->which);
        }
        break;
    case STEP_HANG_UP:
        hang_up_step(client, step->which);
        break;
    case STEP_COME_AGAIN:
        client_hang_up(client);
        client_connect(client);
        break;
    case STEP_END_PROGRAM:
        ask_to_end(client);
        break;
    case STEP_RAW:
        client->alien = true;
        scenario_answers_lost(&client->answers);
        note_asked_to_end(client); /* perhaps */
        send_pieces(client, (const char *)step->raw, step->raw_size, step->pieces);
        break;
    case STEP_BURST: /* more than a queue holds */
        for (unsigned i = 0; i <= QMP_REQ_QUEUE_LEN_MAX; i++) {
            if (step->which & 1) {
                send_command(client, step->which / 2 % SCENARIO_COMMANDS, 0);
            } else {
                send_malformed(client, SHORTEST, 0);
            }
        }
        break;
    case STEP_POKE_VCPU:
        poke_step(client, step->which);
        break;
    default:
        g_assert_not_reached();
    }
}

static void negotiate(ScenarioScript *client)
{
    if (client->negotiates) {
        send_command(client, client->negotiates == 1 ? COMMAND_NEGOTIATE : COMMAND_NEGOTIATE_OOB, 0);
        wait_for_answers(client, client->sent);
    }
}

static void *client_thread(void *opaque)
{
    ScenarioScript *client = opaque;

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
        wait_for_events(client, 0);
    }
    if (client->shares) {
        client_hang_up(client);
    }
    if (__atomic_sub_fetch(client->busy, 1, __ATOMIC_SEQ_CST) == 0) {
        ask_to_end(client);
    }
    while (client->fd >= 0) {
        __atomic_store_n(&client->stays, client->greeted, __ATOMIC_SEQ_CST);
        if (!read_some(client)) {
            client_hang_up(client);
        }
    }
    return NULL;
}

void scenario_script_start(ScenarioScript *client)
{
    client->born_ns = fuzz_time_ns();
    qemu_thread_create(&client->thread, "client", client_thread, client, QEMU_THREAD_JOINABLE);
}

/* What it has not heard yet fits into the socket, with all the answers that it may get. */
void scenario_script_note_end(ScenarioScript *client)
{
    const ScenarioVcpu *vcpu = client->vcpu;
    int last = vcpu->numbers[0], from = scenario_get(&client->listens_from);
    int left = last - scenario_get(&client->heard[0]) + vcpu->numbers[1] - scenario_get(&client->heard[1]);

    if (from && last >= from && left <= (vcpu->has_emitted_long ? 1 : 64)) {
        scenario_set(&client->must_hear, last);
    }
}

bool scenario_script_stays(const ScenarioScript *client)
{
    return __atomic_load_n(&client->stays, __ATOMIC_SEQ_CST);
}

bool scenario_script_waits(const ScenarioScript *client)
{
    return __atomic_load_n(&client->unanswered, __ATOMIC_SEQ_CST) > 0;
}

void scenario_script_join(ScenarioScript *client)
{
    qemu_thread_join(&client->thread);
    g_string_free(client->input, TRUE);
}
