/* The commands; see qmp_block_commands.h. */
#include "core/qmp_block_commands.h"

#include <string.h>

#include "core/export.h"
#include "core/job.h"
#include "core/qmp_arguments.h"

void qmp_job_cancel(JsonObject *args, JsonNode **ret, GError **error)
{
    static const QmpArgument accepted[] = { { .name = "id", .type = QMP_STRING, .required = true }, { 0 } };
    Job *job;

    (void)ret;
    if (!qmp_check_arguments(args, accepted, error)) {
        return;
    }

    JOB_LOCK_GUARD();
    job = job_get_locked(qmp_string_argument(args, "id"));
    if (!job) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Job not found");
        return;
    }
    if (job_user_cancel_locked(job, true) < 0) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Job '%s' in state '%s' cannot accept command verb 'cancel'", job->id,
                    job_status_name(job->status));
    }
}

void qmp_block_export_del(JsonObject *args, JsonNode **ret, GError **error)
{
    static const char *const modes[] = { "safe", "hard", NULL };
    static const QmpArgument accepted[] = {
        { .name = "id", .type = QMP_STRING, .required = true },
        { .name = "mode", .type = QMP_STRING, .values = modes },
        { 0 },
    };
    const char *id, *mode;
    BlockExport *exp;

    (void)ret;
    if (!qmp_check_arguments(args, accepted, error)) {
        return;
    }
    id = qmp_string_argument(args, "id");
    mode = qmp_string_argument(args, "mode");
    exp = blk_exp_find(id);
    if (!exp) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Export '%s' is not found", id);
    } else if (blk_exp_is_shutting_down(exp)) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Export '%s' is already shutting down", id);
    } else if ((!mode || strcmp(mode, "safe") == 0) && blk_exp_is_in_use(exp)) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "export '%s' still in use", id);
    } else {
        blk_exp_request_shutdown(exp);
    }
}
