// clipbridge
// SPDX-License-Identifier: Apache-2.0

// One wrapper per libcurl option in use: libcurl's own setters are variadic, which Swift cannot call, and a wrapper
// with the option's own type makes a wrong value a build failure. The file is the list of what we need of libcurl.

#ifndef CLIPBRIDGE_CCURL_SHIM_H
#define CLIPBRIDGE_CCURL_SHIM_H

#include <curl/curl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#if LIBCURL_VERSION_NUM < 0x075801
#error "clipbridge needs libcurl 7.88.1 or newer (Debian: libcurl4-openssl-dev)"
#endif

#pragma clang assume_nonnull begin

// MARK: The process

static inline CURLcode ccurl_global_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

static inline int ccurl_has_tls(void) { return (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_SSL) != 0; }

// Variadic too, and pthread_setname_np is a GNU extension that Swift's Glibc module leaves out.
static inline void ccurl_set_thread_name(const char *name) { prctl(PR_SET_NAME, (unsigned long)name, 0UL, 0UL, 0UL); }

// MARK: Callbacks

typedef size_t (*ccurl_data_callback)(char *data, size_t size, size_t count, void *owner);
typedef int (*ccurl_seek_callback)(void *owner, curl_off_t offset, int origin);
typedef curl_socket_t (*ccurl_socket_callback)(void *owner, curlsocktype purpose, struct curl_sockaddr *address);
typedef int (*ccurl_prereq_callback)(
    void *owner, char *_Nullable remote_ip, char *_Nullable local_ip, int remote_port, int local_port);

// What callbacks answer; the values' macros do not all reach Swift with the type that the callback returns.
static inline size_t ccurl_write_abort(void) { return CURL_WRITEFUNC_ERROR; }
static inline size_t ccurl_read_abort(void) { return CURL_READFUNC_ABORT; }

static inline CURLcode ccurl_set_write(CURL *easy, ccurl_data_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_WRITEDATA, owner);
}

static inline CURLcode ccurl_set_header(CURL *easy, ccurl_data_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_HEADERDATA, owner);
}

static inline CURLcode ccurl_set_read(CURL *easy, ccurl_data_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_READFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_READDATA, owner);
}

static inline CURLcode ccurl_set_seek(CURL *easy, ccurl_seek_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_SEEKDATA, owner);
}

static inline CURLcode ccurl_set_open_socket(CURL *easy, ccurl_socket_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, owner);
}

static inline CURLcode ccurl_set_prereq(CURL *easy, ccurl_prereq_callback callback, void *owner) {
    CURLcode code = curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, callback);
    return code ? code : curl_easy_setopt(easy, CURLOPT_PREREQDATA, owner);
}

// MARK: Options of one transfer

#define CCURL_OPTION(name, type, option) \
    static inline CURLcode ccurl_set_##name(CURL *easy, type value) { return curl_easy_setopt(easy, option, value); }

CCURL_OPTION(url, const char *, CURLOPT_URL)
CCURL_OPTION(path_as_is, long, CURLOPT_PATH_AS_IS)
CCURL_OPTION(protocols, const char *, CURLOPT_PROTOCOLS_STR)
CCURL_OPTION(disallow_username_in_url, long, CURLOPT_DISALLOW_USERNAME_IN_URL)
CCURL_OPTION(private, void *, CURLOPT_PRIVATE)
CCURL_OPTION(error_buffer, char *, CURLOPT_ERRORBUFFER)
CCURL_OPTION(no_signal, long, CURLOPT_NOSIGNAL)
CCURL_OPTION(quick_exit, long, CURLOPT_QUICK_EXIT)
CCURL_OPTION(follow_location, long, CURLOPT_FOLLOWLOCATION)
CCURL_OPTION(http_version, long, CURLOPT_HTTP_VERSION)
CCURL_OPTION(http09_allowed, long, CURLOPT_HTTP09_ALLOWED)
CCURL_OPTION(proxy, const char *, CURLOPT_PROXY)
CCURL_OPTION(no_proxy, const char *, CURLOPT_NOPROXY)
CCURL_OPTION(suppress_connect_headers, long, CURLOPT_SUPPRESS_CONNECT_HEADERS)
CCURL_OPTION(tcp_keepalive, long, CURLOPT_TCP_KEEPALIVE)
CCURL_OPTION(fresh_connect, long, CURLOPT_FRESH_CONNECT)
CCURL_OPTION(receive_buffer_size, long, CURLOPT_BUFFERSIZE)
CCURL_OPTION(send_buffer_size, long, CURLOPT_UPLOAD_BUFFERSIZE)
CCURL_OPTION(receive_speed_max, curl_off_t, CURLOPT_MAX_RECV_SPEED_LARGE)
CCURL_OPTION(send_speed_max, curl_off_t, CURLOPT_MAX_SEND_SPEED_LARGE)
CCURL_OPTION(http_get, long, CURLOPT_HTTPGET)
CCURL_OPTION(no_body, long, CURLOPT_NOBODY)
CCURL_OPTION(upload, long, CURLOPT_UPLOAD)
CCURL_OPTION(upload_length, curl_off_t, CURLOPT_INFILESIZE_LARGE)
CCURL_OPTION(custom_request, const char *, CURLOPT_CUSTOMREQUEST)
CCURL_OPTION(http_header, struct curl_slist *, CURLOPT_HTTPHEADER)
CCURL_OPTION(user_agent, const char *, CURLOPT_USERAGENT)
CCURL_OPTION(connect_timeout_ms, long, CURLOPT_CONNECTTIMEOUT_MS)
CCURL_OPTION(low_speed_limit, long, CURLOPT_LOW_SPEED_LIMIT)
CCURL_OPTION(low_speed_time, long, CURLOPT_LOW_SPEED_TIME)
CCURL_OPTION(timeout_ms, long, CURLOPT_TIMEOUT_MS)
CCURL_OPTION(ssl_verify_peer, long, CURLOPT_SSL_VERIFYPEER)
CCURL_OPTION(ssl_verify_host, long, CURLOPT_SSL_VERIFYHOST)
CCURL_OPTION(ssl_version, long, CURLOPT_SSLVERSION)
CCURL_OPTION(ca_file, const char *, CURLOPT_CAINFO)

#undef CCURL_OPTION

static inline long ccurl_http_version_1_1(void) { return CURL_HTTP_VERSION_1_1; }
static inline long ccurl_http_version_2_over_tls(void) { return CURL_HTTP_VERSION_2TLS; }
static inline long ccurl_tls_1_2_or_newer(void) { return CURL_SSLVERSION_TLSv1_2; }

// MARK: What a transfer tells

static inline void *_Nullable ccurl_get_private(CURL *easy) {
    char *value = NULL;
    return curl_easy_getinfo(easy, CURLINFO_PRIVATE, &value) == CURLE_OK ? value : NULL;
}

static inline curl_off_t ccurl_get_pretransfer_us(CURL *easy) {
    curl_off_t value = 0;
    return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &value) == CURLE_OK ? value : 0;
}

// How many connections had to be opened: 0 on a kept one.
static inline long ccurl_get_connects(CURL *easy) {
    long value = 0;
    return curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &value) == CURLE_OK ? value : 0;
}

// MARK: The multi handle

static inline CURLMcode ccurl_multi_set_idle_connections(CURLM *multi, long count) {
    return curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, count);
}

static inline CURLMcode ccurl_multi_poll(CURLM *multi, int timeout_ms, int *ready) {
    return curl_multi_poll(multi, NULL, 0, timeout_ms, ready);
}

// CURLMsg without its union: the two facts that a finished transfer has.
struct ccurl_done {
    CURL *_Nullable easy;
    CURLcode code;
};

// The next finished transfer; its `easy` is null when there is none.
static inline struct ccurl_done ccurl_multi_next_done(CURLM *multi) {
    struct ccurl_done done = {NULL, CURLE_OK};
    int left = 0;
    CURLMsg *_Nullable message;
    while ((message = curl_multi_info_read(multi, &left))) {
        if (message->msg != CURLMSG_DONE) continue;
        done.easy = message->easy_handle;
        done.code = message->data.result;
        break;
    }
    return done;
}

// MARK: Addresses

// Copies an address's own 4 or 16 bytes and returns their number, 0 for another family.
static inline int ccurl_address_bytes(const struct curl_sockaddr *address, uint8_t *bytes) {
    switch (address->family) {
    case AF_INET:
        memcpy(bytes, &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr, 4);
        return 4;
    case AF_INET6:
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr, 16);
        return 16;
    default:
        return 0;
    }
}

// What libcurl itself does where no callback is set.
static inline curl_socket_t ccurl_open_socket(const struct curl_sockaddr *address) {
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static inline curl_socket_t ccurl_socket_bad(void) { return CURL_SOCKET_BAD; }

#pragma clang assume_nonnull end

#endif
