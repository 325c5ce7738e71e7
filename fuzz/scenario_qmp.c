#include "fuzz/scenario_qmp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/qmp_json.h"
#include "core/runstate.h"
#include "fuzz/fuzz.h"

/* A byte below 128 takes what stands at the command's place, so that zeros stop the machine and let it go on; others take any. */
static const char *const texts[] = {
    "{\"execute\":\"stop\"",           "{\"execute\":\"cont\"",
    "{\"execute\":\"query-status\"",   "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":5}",
    "{\"exec-oob\":\"migrate-pause\"", "{\"execute\":\"quit\"",
};

static const char *text_of(const ScenarioQmp *qmp, unsigned i)
{
    return texts[(qmp->commands[i] & 128 ? qmp->commands[i] : i) % G_N_ELEMENTS(texts)];
}

/* id 0 is the negotiation. */
static bool is_out_of_band(const ScenarioQmp *qmp, unsigned id)
{
    return id > 0 && strstr(text_of(qmp, id - 1), "exec-oob");
}

/* The connection may be closed at any moment: a command is then refused. */
static bool send_text(ScenarioQmp *qmp, const char *text)
{
    unsigned id = __atomic_fetch_add(&qmp->sent, 1, __ATOMIC_SEQ_CST);
    char *line = g_strdup_printf("%s,\"id\":%u}", text, id);
    size_t size = strlen(line), done = 0;

    while (done < size) {
        ssize_t ret = send(qmp->fd, line + done, size - done, MSG_NOSIGNAL);

        if (ret < 0) {
            fuzz_check(errno == EPIPE);
            break;
        }
        done += (size_t)ret;
    }
    g_free(line);
    return done == size;
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
    for (unsigned before = 0; before < id && !is_out_of_band(qmp, id); before++) {
        fuzz_check(is_out_of_band(qmp, before) || *seen & 1u << before);
    }
    if (__atomic_add_fetch(&qmp->answered, 1, __ATOMIC_SEQ_CST) == 1 + qmp->ends_after) {
        qemu_system_shutdown_request();
    }
}

static void take_line(ScenarioQmp *qmp, const char *line, unsigned *seen)
{
    JsonNode *node = qmp_json_parse(line, NULL);
    JsonObject *object;

    fuzz_check(node && JSON_NODE_HOLDS_OBJECT(node));
    object = json_node_get_object(node);
    if (!json_object_has_member(object, "QMP") && !json_object_has_member(object, "event")) {
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
    bool connected = send_text(qmp, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}");

    while (connected && qmp->answered < 1) {
        connected = read_some(qmp, &seen);
    }
    for (unsigned i = 0; connected && i < qmp->count; i++) {
        connected = send_text(qmp, text_of(qmp, i));
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

void scenario_qmp_start(ScenarioQmp *qmp, Chardev *chr, const uint8_t *commands, unsigned count, bool waits, unsigned ends_after)
{
    int pair[2];

    *qmp = (ScenarioQmp){ .count = MIN(count, SCENARIO_QMP_COMMANDS_MAX), .waits = waits, .ends_after = ends_after };
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

void scenario_qmp_join(ScenarioQmp *qmp)
{
    qemu_thread_join(&qmp->thread);
    g_string_free(qmp->input, TRUE);
}
