#include "fuzz/scenario_qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/qmp_json.h"
#include "core/runstate.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define ERRORS_MAX 3u

/* What a command may be refused with, by the beginning of the text, and which window that is. */
typedef struct Refusal {
    const char *text, *window; /* window: NULL, none */
} Refusal;

typedef struct Command {
    const char *text;
    const char *done; /* the window that it was carried out; NULL: none */
    Refusal refusals[ERRORS_MAX];
    /* Which bit of jobs_left, or of exports_left, says that what it names was there when the end began. Where it is refused because it is
     * not there (the first refusal), it ran in the middle of the end. */
    enum { NAMES_NOTHING, NAMES_A_JOB, NAMES_AN_EXPORT } names;
    unsigned bit;
    enum { FOR_ALL, ONLY_UNUSED, ENDS_PROGRAM } how;
} Command;

static const Command negotiation = { .text = "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}" };

static const Command commands[] = {
    { .text = "{\"execute\":\"stop\"" },
    { .text = "{\"execute\":\"cont\"", .refusals = { { "Resetting the Virtual Machine is required", NULL } } },
    { .text = "{\"execute\":\"query-status\"" },
    { .text = "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":5}" },
    { .text = "{\"exec-oob\":\"migrate-pause\"", .refusals = { { "There's no migration in progress", NULL } } },
    { .text = "{\"execute\":\"quit\"", .how = ENDS_PROGRAM },
};

#define JOB_CANCEL(number)                                                                 \
    { .text = "{\"execute\":\"job-cancel\",\"arguments\":{\"id\":\"job" #number "\"}",     \
      .done = "job-cancelled-by-a-command",                                                \
      .refusals = { { "Job not found", "job-gone-when-its-command-comes-during-cleanup" }, \
                    { "Job 'job" #number "' in state", NULL } },                           \
      .names = NAMES_A_JOB,                                                                \
      .bit = 1u << (number) }
#define EXPORT_DEL(number, arguments, which)                                                                            \
    { .text = "{\"execute\":\"block-export-del\",\"arguments\":{\"id\":\"export" #number "\"" arguments "}",            \
      .done = "export-deleted-by-a-command",                                                                            \
      .refusals = { { "Export 'export" #number "' is not found", "export-gone-when-its-command-comes-during-cleanup" }, \
                    { "Export 'export" #number "' is already shutting down", "export-is-closing-already" },             \
                    { "export 'export" #number "' still in use", "export-in-use-is-kept" } },                           \
      .names = NAMES_AN_EXPORT,                                                                                         \
      .bit = 1u << (number),                                                                                            \
      .how = (which) }

static const Command block_commands[] = {
    JOB_CANCEL(0),
    EXPORT_DEL(0, ",\"mode\":\"hard\"", FOR_ALL),
    JOB_CANCEL(1),
    EXPORT_DEL(1, ",\"mode\":\"hard\"", FOR_ALL),
    EXPORT_DEL(0, "", ONLY_UNUSED),
};

/*
 * 0 takes what stands at the command's place, so that zeros stop the machine and let it go on; a byte below 128 takes a command of the
 * block layer, the others take any. id 0 is the negotiation.
 */
static const Command *command_of(const ScenarioQmp *qmp, unsigned id)
{
    uint8_t byte;

    if (id == 0) {
        return &negotiation;
    }
    byte = qmp->commands[id - 1];
    if (byte > 0 && byte < 128) {
        return &block_commands[(byte - 1u) % G_N_ELEMENTS(block_commands)];
    }
    return &commands[(byte ? byte : id - 1) % G_N_ELEMENTS(commands)];
}

static bool is_out_of_band(const ScenarioQmp *qmp, unsigned id)
{
    return strstr(command_of(qmp, id)->text, "exec-oob");
}

/* The next one. The connection may be closed at any moment: a command is then refused. */
static bool send_command(ScenarioQmp *qmp)
{
    unsigned id = __atomic_fetch_add(&qmp->sent, 1, __ATOMIC_SEQ_CST);
    char *line = g_strdup_printf("%s,\"id\":%u}", command_of(qmp, id)->text, id);
    size_t size = strlen(line), done = 0;

    if (command_of(qmp, id)->how == ENDS_PROGRAM) {
        __atomic_store_n(&qmp->asked_to_end, true, __ATOMIC_SEQ_CST);
    }
    while (done < size) {
        ssize_t ret = send(qmp->fd, line + done, size - done, MSG_NOSIGNAL);

        if (ret < 0) {
            fuzz_check(errno == EPIPE && __atomic_load_n(&qmp->ending, __ATOMIC_SEQ_CST));
            break;
        }
        done += (size_t)ret;
    }
    g_free(line);
    return done == size;
}

static bool was_there(const ScenarioQmp *qmp, const Command *command)
{
    const unsigned *left = command->names == NAMES_A_JOB ? &qmp->jobs_left : &qmp->exports_left;

    return command->names != NAMES_NOTHING && __atomic_load_n(left, __ATOMIC_SEQ_CST) & command->bit;
}

/* Only QMP's own errors, each where it belongs. */
static void check_refusal(const ScenarioQmp *qmp, const Command *command, JsonObject *error)
{
    const char *text = json_object_get_string_member(error, "desc");
    unsigned i = 0;

    fuzz_check(strcmp(json_object_get_string_member(error, "class"), "GenericError") == 0);
    while (i < ERRORS_MAX && command->refusals[i].text && !g_str_has_prefix(text, command->refusals[i].text)) {
        i++;
    }
    fuzz_check(i < ERRORS_MAX && command->refusals[i].text);
    if (command->refusals[i].window && (i > 0 || was_there(qmp, command))) {
        fuzz_reached(command->refusals[i].window);
    }
}

/* Once, and in order; what is out of band may come before others. seen has a bit for each. */
static void check_answer(ScenarioQmp *qmp, JsonObject *object, unsigned *seen)
{
    unsigned id;

    fuzz_check(json_object_has_member(object, "return") != json_object_has_member(object, "error"));
    fuzz_check(json_object_has_member(object, "id"));
    id = (unsigned)json_object_get_int_member(object, "id");
    fuzz_check(id < qmp->sent);
    fuzz_check(!(*seen & 1u << id));
    *seen |= 1u << id;
    if (json_object_has_member(object, "error")) {
        check_refusal(qmp, command_of(qmp, id), json_object_get_object_member(object, "error"));
    } else {
        fuzz_check(command_of(qmp, id)->how != ONLY_UNUSED || scenario_get(qmp->export0_holds) == 0);
        if (command_of(qmp, id)->done) {
            fuzz_reached(command_of(qmp, id)->done);
        }
    }
    for (unsigned before = 0; before < id && !is_out_of_band(qmp, id); before++) {
        fuzz_check(is_out_of_band(qmp, before) || *seen & 1u << before);
    }
    if (__atomic_add_fetch(&qmp->answered, 1, __ATOMIC_SEQ_CST) == 1 + qmp->ends_after) {
        __atomic_store_n(&qmp->asked_to_end, true, __ATOMIC_SEQ_CST);
        qemu_system_shutdown_request();
    }
}

static void take_line(ScenarioQmp *qmp, const char *line, unsigned *seen)
{
    JsonNode *node = qmp_json_parse(line, NULL);
    JsonObject *object;

    fuzz_check(node && JSON_NODE_HOLDS_OBJECT(node));
    object = json_node_get_object(node);
    fuzz_check(qmp->greeted != json_object_has_member(object, "QMP"));
    if (!qmp->greeted) {
        qmp->greeted = true;
    } else if (!json_object_has_member(object, "event")) {
        check_answer(qmp, object, seen);
    }
    json_node_unref(node);
}

/* Returns false at the end of the stream. */
static bool read_some(ScenarioQmp *qmp, unsigned *seen)
{
    char buffer[512];
    ssize_t size = recv(qmp->fd, buffer, sizeof(buffer), 0);
    char *end;

    if (size <= 0) {
        fuzz_check(__atomic_load_n(&qmp->ending, __ATOMIC_SEQ_CST));
        return false;
    }
    g_string_append_len(qmp->input, buffer, size);
    while ((end = strchr(qmp->input->str, '\n'))) {
        *end = '\0';
        take_line(qmp, qmp->input->str, seen);
        g_string_erase(qmp->input, 0, end - qmp->input->str + 1);
    }
    return true;
}

static void *client_thread(void *opaque)
{
    ScenarioQmp *qmp = opaque;
    unsigned seen = 0; /* a bit for each answer */
    bool connected = send_command(qmp);

    while (connected && qmp->answered < 1) {
        connected = read_some(qmp, &seen);
    }
    for (unsigned i = 0; connected && i < qmp->count; i++) {
        connected = send_command(qmp);
        while (connected && qmp->waits && qmp->answered < qmp->sent) {
            connected = read_some(qmp, &seen);
        }
    }
    while (read_some(qmp, &seen)) {
        /* to the end */
    }
    close(qmp->fd);
    return NULL;
}

void scenario_qmp_start(ScenarioQmp *qmp, Chardev *chr, const int *export0_holds, const uint8_t *commands, unsigned count,
                        bool waits, unsigned ends_after)
{
    int pair[2];

    *qmp = (ScenarioQmp){ .count = MIN(count, SCENARIO_QMP_COMMANDS_MAX), .waits = waits, .ends_after = ends_after };
    qmp->export0_holds = export0_holds;
    memcpy(qmp->commands, commands, qmp->count);
    qmp->input = g_string_new(NULL);
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    qmp->fd = pair[0];
    qemu_chr_socket_connect(chr, pair[1]);
    qemu_thread_create(&qmp->thread, "qmp", client_thread, qmp, QEMU_THREAD_JOINABLE);
}

bool scenario_qmp_busy(const ScenarioQmp *qmp)
{
    return __atomic_load_n(&qmp->answered, __ATOMIC_SEQ_CST) < __atomic_load_n(&qmp->sent, __ATOMIC_SEQ_CST);
}

bool scenario_qmp_asked_to_end(const ScenarioQmp *qmp)
{
    return __atomic_load_n(&qmp->asked_to_end, __ATOMIC_SEQ_CST);
}

void scenario_qmp_note_end(ScenarioQmp *qmp, unsigned jobs_left, unsigned exports_left)
{
    __atomic_store_n(&qmp->jobs_left, jobs_left, __ATOMIC_SEQ_CST);
    __atomic_store_n(&qmp->exports_left, exports_left, __ATOMIC_SEQ_CST);
    __atomic_store_n(&qmp->ending, true, __ATOMIC_SEQ_CST);
}

void scenario_qmp_join(ScenarioQmp *qmp)
{
    qemu_thread_join(&qmp->thread);
    g_string_free(qmp->input, TRUE);
}
