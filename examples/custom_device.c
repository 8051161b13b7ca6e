/* SPDX-License-Identifier: MIT */
/*
 * A device type of one's own, served over vhost-user: an entropy device (virtio 1.4, 5.4) that fills each buffer with bytes of
 * its own making. usage: custom_device SOCKET      then, for example, in QEMU: -device vhost-user-rng-pci,chardev=...
 */
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <vio/serve.h>

enum { BATCH = 16 };

struct rng {
    struct vio_device *dev;
};

/* Called when the driver has made buffers available. Returns how many were served. */
static unsigned serve_queue(void *self, uint16_t queue, unsigned budget)
{
    struct rng *rng = self;
    struct vio_devq *vq = vio_device_queue(rng->dev, queue);
    struct vio_req *reqs[BATCH];
    unsigned n = vio_devq_take(vq, reqs, budget < BATCH ? budget : BATCH);

    for (unsigned i = 0; i < n; i++) {
        uint8_t bytes[256];
        ssize_t got = getrandom(bytes, sizeof(bytes), 0);

        (void)vio_writer_put_some(&reqs[i]->out, bytes, got > 0 ? (size_t)got : 0);
        vio_devq_put(vq, reqs[i]); /* the used length is what the writer wrote */
    }
    if (n > 0)
        vio_device_publish(rng->dev, queue, n);
    return n;
}

static const struct vio_device_type rng_type = { .name = "rng", .id = 4, .queue_size_max = 256, .service = serve_queue };

static void say(void *ctx, enum vio_log_level level, const char *name, const char *line)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s: %s\n", name, line);
}

int main(int argc, char **argv)
{
    struct vio_log log = { .write = say, .level = VIO_LOG_INFO };
    struct rng rng = { 0 };
    struct vio_device_params params = { .type = &rng_type, .self = &rng, .queues = 1, .log = &log };
    struct vio_serve_params serve = { .path = argc == 2 ? argv[1] : "", .log = &log };
    sigset_t stop;
    char why[256] = "no memory";

    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    serve.stop_fd = signalfd(-1, &stop, SFD_CLOEXEC);
    if (vio_device_create(&params, &rng.dev) != 0 || vio_serve(rng.dev, &serve, why, sizeof(why)) != 0) {
        fprintf(stderr, "custom_device: %s\n", why);
        return 1;
    }
    vio_device_destroy(rng.dev);
    return 0;
}
