/* SPDX-License-Identifier: MIT */
/*
 * A network card whose every frame comes back, addresses swapped: an echo server as a device. usage: net_echo SOCKET
 */
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <vio/net.h>
#include <vio/serve.h>

int main(int argc, char **argv)
{
    struct vio_device_params device = { .name = "echo" };
    struct vio_net_params net = { .pairs = 1, .device = &device };
    struct vio_serve_params serve = { .path = argc == 2 ? argv[1] : "" };
    struct vio_device *dev = NULL;
    char why[256] = "no memory";
    sigset_t stop;
    int error;

    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    serve.stop_fd = signalfd(-1, &stop, SFD_CLOEXEC);
    error = vio_net_echo_open(&net.backend, why, sizeof(why));
    if (!error)
        error = vio_net_create(&net, &dev, why, sizeof(why));
    if (!error)
        error = vio_serve(dev, &serve, why, sizeof(why));
    if (error)
        fprintf(stderr, "net_echo: %s\n", why);
    vio_device_destroy(dev);
    return error ? 1 : 0;
}
