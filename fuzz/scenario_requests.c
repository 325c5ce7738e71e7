#include "fuzz/scenario_requests.h"

#include <errno.h>
#include <glib.h>

#include "fuzz/fuzz.h"

#define DISK_BYTES SCENARIO_REQUESTS_DISK_BYTES
#define SECTOR     512

static bool is_in_range(const ScenarioRequest *request)
{
    return request->kind < 4 || request->kind > 6;
}

static void request_done(void *opaque, int ret)
{
    ScenarioRequest *request = opaque;
    ScenarioRequests *requests = request->requests;

    fuzz_check(!request->done);
    request->done = true;
    fuzz_check(ret >= 0 || ret == -EIO || ret == -ENOSPC || ret == -ENOMEDIUM);
    if (ret < 0) {
        fuzz_reached("request-fails");
    }
    if (ret < 0 && ret != -ENOMEDIUM && is_in_range(request)) {
        scenario_add(&requests->failed, 1);
    }
    scenario_add(&requests->under_way, -1);
    requests->ended(requests->opaque);
}

/* Into two buffers of different size, the list of which has to grow. */
static int64_t coroutine_fn read_in_parts(BlockBackend *blk, uint8_t *data)
{
    QEMUIOVector qiov;
    int ret;

    qemu_iovec_init(&qiov, 0);
    qemu_iovec_add(&qiov, data, SECTOR / 2);
    qemu_iovec_add(&qiov, data + SECTOR / 2, SECTOR + SECTOR / 2);
    ret = blk_co_preadv(blk, SECTOR, 2 * SECTOR, &qiov, 0);
    qemu_iovec_destroy(&qiov);
    return ret;
}

/* No range of sectors. */
static int64_t coroutine_fn read_what_is_not_there(ScenarioRequest *request)
{
    static const struct {
        int64_t offset, bytes;
        int error;
    } ranges[] = {
        { 1, SECTOR, -EINVAL },    { 0, SECTOR - 1, -EINVAL }, { 0, 2 * DISK_BYTES, -EINVAL }, /* more than the buffer holds */
        { -SECTOR, SECTOR, -EIO }, { 0, -SECTOR, -EIO },       { INT64_MAX - 1, SECTOR, -EIO },
    };
    int ret = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        QEMUIOVector qiov;

        qemu_iovec_init_buf(&qiov, request->data, DISK_BYTES);
        ret = blk_co_preadv(request->requests->blk, ranges[i].offset, ranges[i].bytes, &qiov, 0);
        fuzz_check(ret == ranges[i].error || ret == -ENOMEDIUM);
    }
    return ret;
}

static void coroutine_fn request_entry(void *opaque)
{
    ScenarioRequest *request = opaque;
    BlockBackend *blk = request->requests->blk;
    int64_t ret;

    switch (request->kind) {
    case 0:
        ret = blk_co_pread(blk, 0, DISK_BYTES, request->data, 0);
        break;
    case 1:
        ret = blk_co_pwrite(blk, SECTOR, SECTOR, request->data, 0);
        break;
    case 2:
        ret = blk_co_flush(blk);
        break;
    case 3:
        ret = blk_co_getlength(blk);
        fuzz_check(ret == DISK_BYTES || ret == -ENOMEDIUM);
        break;
    case 4:
        ret = blk_co_pread(blk, DISK_BYTES, SECTOR, request->data, 0); /* beyond the end */
        fuzz_check(ret == -EIO || ret == -ENOMEDIUM);
        break;
    case 5:
        ret = blk_co_pwrite(blk, DISK_BYTES, SECTOR, request->data, 0);
        fuzz_check(ret == -EIO || ret == -ENOMEDIUM);
        break;
    case 6:
        ret = read_what_is_not_there(request);
        break;
    default:
        ret = read_in_parts(blk, request->data);
        break;
    }
    request_done(request, (int)MIN(ret, 0));
}

void scenario_requests_submit(ScenarioRequests *requests, unsigned kind, unsigned home)
{
    ScenarioRequest *request;

    if (requests->count == SCENARIO_REQUESTS_MAX) {
        return;
    }
    request = &requests->all[requests->count++];
    request->requests = requests;
    request->kind = kind;
    scenario_add(&requests->under_way, 1);
    qemu_iovec_init_buf(&request->qiov, request->data, kind == 9 ? SECTOR : DISK_BYTES);
    if (kind == 8) {
        blk_aio_preadv(requests->blk, 0, &request->qiov, 0, request_done, request);
    } else if (kind == 9) {
        blk_aio_pwritev(requests->blk, 0, &request->qiov, 0, request_done, request);
    } else if (kind == 10) {
        blk_aio_flush(requests->blk, request_done, request);
    } else {
        scenario_start(requests->scenario, home, request_entry, request);
    }
}

void scenario_requests_check(const ScenarioRequests *requests)
{
    for (unsigned i = 0; i < requests->count; i++) {
        fuzz_check(requests->all[i].done);
    }
}
