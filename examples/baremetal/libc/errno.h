/* SPDX-License-Identifier: MIT */
/* Error numbers are an agreement between vio and whoever takes it in, as in any kernel; no errno. */
#ifndef VIO_BAREMETAL_ERRNO_H
#define VIO_BAREMETAL_ERRNO_H

#define ENOENT 2
#define EIO 5
#define E2BIG 7
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EBUSY 16
#define EEXIST 17
#define ENODEV 19
#define EINVAL 22
#define ENOSPC 28
#define ERANGE 34
#define EPROTO 71
#define EOVERFLOW 75
#define EMSGSIZE 90
#define EOPNOTSUPP 95
#define ENOTSUP 95
#define ECONNRESET 104
#define ENOBUFS 105
#define ENOTCONN 107
#define ETIMEDOUT 110
#define EALREADY 114
#define EINPROGRESS 115
#define ECANCELED 125
#define EPERM 1
#define EINTR 4
#define ENOTDIR 20
#define EISDIR 21
#define EROFS 30
#define EPIPE 32
#define ENAMETOOLONG 36
#define EADDRINUSE 98
#define EISCONN 106
#define ECONNREFUSED 111

#endif
