/*
 * The floor: what the same end state costs with nothing but the kernel. The messages are built before the clock starts,
 * nothing is recorded, and the first refusal ends the program.
 *
 *   floor links NETNS PARENT FIRST COUNT          links born UP in one namespace, their addresses, one default route
 *   floor delete NETNS                            those links, by one message
 *   floor namespaces DIRECTORY FIRST COUNT        namespaces made and pinned, IPv6 off, lo up
 *   floor sandboxes DIRECTORY PARENT FIRST COUNT  the same, each with a macvlan born UP, its address, the default route
 *   floor remove DIRECTORY PARENT                 every pin in the directory, until the parent holds no MAC of theirs
 *
 * NETNS and DIRECTORY are paths, PARENT is a link's index in the namespace that this is started in. Number N is
 * namespace `f-N`, in one namespace link `eth` and N less the first, address 10.20.0.2 + N of a /16, MAC 02:42: and the address. Prints {"seconds": S, "marks": [[DONE, S], ...]}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GROUP 77
#define FIRST_INDEX (1 << 20)
#define SUBNET 0x0a140000u /* 10.20.0.0 */
#define GATEWAY (SUBNET + 1)
/* Requests to a send, and namespaces made before their links are: larger ones measured no faster. */
#define LINKS_PER_SEND 256
#define NAMESPACES_PER_CHUNK 64
/* Threads that make namespaces. */
#define MAKERS 2
/* More than one message of ours needs. */
#define MESSAGE_MAX 256

static void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

#define MUST(call) do { if ((call) < 0) fail(#call); } while (0)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *grab(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);
	if (!memory)
		fail("calloc");
	return memory;
}

/* Messages: several, one behind the other. */

struct batch {
	char *bytes;
	size_t length;
	struct nlmsghdr *last;
};

static struct batch new_batch(int messages)
{
	return (struct batch){ grab(messages, MESSAGE_MAX), 0, NULL };
}

static void *put_message(struct batch *batch, int type, int flags, size_t body)
{
	struct nlmsghdr *header = (struct nlmsghdr *)(batch->bytes + batch->length);
	header->nlmsg_len = NLMSG_LENGTH(body);
	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | flags;
	batch->last = header;
	batch->length += NLMSG_ALIGN(header->nlmsg_len);
	return NLMSG_DATA(header);
}

static struct rtattr *put(struct batch *batch, int type, const void *value, size_t length)
{
	struct rtattr *attribute = (struct rtattr *)(batch->bytes + batch->length);
	attribute->rta_type = type;
	attribute->rta_len = RTA_LENGTH(length);
	if (length)
		memcpy(RTA_DATA(attribute), value, length);
	batch->last->nlmsg_len += RTA_SPACE(length);
	batch->length += RTA_SPACE(length);
	return attribute;
}

static void close_nest(struct batch *batch, struct rtattr *nest)
{
	nest->rta_len = batch->bytes + batch->length - (char *)nest;
}

/* A macvlan born UP in a namespace; gives where its descriptor stands in the bytes. */
static int *put_link(struct batch *batch, const char *name, int number, int parent, int netns)
{
	uint32_t mode = MACVLAN_MODE_BRIDGE, group = GROUP, address = SUBNET + 2 + number;
	unsigned char mac[6] = { 2, 0x42, address >> 24, address >> 16, address >> 8, address };
	struct ifinfomsg *info = put_message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *info);
	info->ifi_index = FIRST_INDEX + number;
	info->ifi_flags = info->ifi_change = IFF_UP;
	put(batch, IFLA_IFNAME, name, strlen(name) + 1);
	put(batch, IFLA_ADDRESS, mac, sizeof mac);
	put(batch, IFLA_GROUP, &group, 4);
	int *descriptor = RTA_DATA(put(batch, IFLA_NET_NS_FD, &netns, 4));
	put(batch, IFLA_LINK, &parent, 4);
	struct rtattr *linkinfo = put(batch, IFLA_LINKINFO, NULL, 0);
	put(batch, IFLA_INFO_KIND, "macvlan", 7);
	struct rtattr *data = put(batch, IFLA_INFO_DATA, NULL, 0);
	put(batch, IFLA_MACVLAN_MODE, &mode, 4);
	close_nest(batch, data);
	close_nest(batch, linkinfo);
	return descriptor;
}

static void put_address(struct batch *batch, int number)
{
	uint32_t address = htonl(SUBNET + 2 + number);
	struct ifaddrmsg *body = put_message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
	body->ifa_family = AF_INET;
	body->ifa_prefixlen = 16;
	body->ifa_index = FIRST_INDEX + number;
	put(batch, IFA_LOCAL, &address, 4);
	put(batch, IFA_ADDRESS, &address, 4);
}

static void put_default_route(struct batch *batch, int number)
{
	uint32_t gateway = htonl(GATEWAY), index = FIRST_INDEX + number;
	struct rtmsg *body = put_message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *body);
	body->rtm_family = AF_INET;
	body->rtm_table = RT_TABLE_MAIN;
	body->rtm_protocol = RTPROT_BOOT;
	body->rtm_type = RTN_UNICAST;
	put(batch, RTA_OIF, &index, 4);
	put(batch, RTA_GATEWAY, &gateway, 4);
}

static void put_loopback_up(struct batch *batch)
{
	struct ifinfomsg *info = put_message(batch, RTM_NEWLINK, 0, sizeof *info);
	info->ifi_index = 1;
	info->ifi_flags = info->ifi_change = IFF_UP;
}

/* Sockets. */

static int open_socket(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int size = 4 << 20, one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	MUST(fd);
	MUST(connect(fd, (struct sockaddr *)&kernel, sizeof kernel));
	MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size));
	MUST(setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one));
	return fd;
}

static int open_socket_in(const char *netns)
{
	int home, there, fd;
	MUST(home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	MUST(there = open(netns, O_RDONLY | O_CLOEXEC));
	MUST(setns(there, CLONE_NEWNET));
	fd = open_socket();
	MUST(setns(home, CLONE_NEWNET));
	close(home);
	close(there);
	return fd;
}

/* Send all messages in one call and read the answer to the last: by then the kernel has done them all. */
static void send_batch(int fd, struct batch *batch)
{
	char reply[4096];
	batch->last->nlmsg_flags |= NLM_F_ACK;
	MUST(send(fd, batch->bytes, batch->length, 0));
	ssize_t length = recv(fd, reply, sizeof reply, 0);
	MUST(length);
	struct nlmsghdr *header = (struct nlmsghdr *)reply;
	int code = header->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(header))->error : -EPROTO;
	if (code) {
		errno = -code;
		fail("the kernel refused a request");
	}
}

/* What is printed. */

static double begun;
static int marks;

static void start(void)
{
	printf("{\"marks\": [");
	begun = now();
}

static void mark(int done)
{
	printf("%s[%d, %.6f]", marks++ ? ", " : "", done, now() - begun);
}

static int finish(void)
{
	printf("], \"seconds\": %.6f}\n", now() - begun);
	return 0;
}

static int smaller(int a, int b)
{
	return a < b ? a : b;
}

/* Links of one namespace. */

static int links(const char *netns, int parent, int first, int count)
{
	int sends = (count + LINKS_PER_SEND - 1) / LINKS_PER_SEND, netns_fd, here = open_socket(), there = open_socket_in(netns);
	struct batch *born = grab(sends, sizeof *born), *addressed = grab(sends, sizeof *addressed);
	MUST(netns_fd = open(netns, O_RDONLY | O_CLOEXEC));
	for (int i = 0; i < sends; i++) {
		int size = smaller(LINKS_PER_SEND, count - i * LINKS_PER_SEND);
		born[i] = new_batch(size);
		addressed[i] = new_batch(size + 1);
		for (int j = 0; j < size; j++) {
			int number = first + i * LINKS_PER_SEND + j;
			char name[IFNAMSIZ];
			snprintf(name, sizeof name, "eth%d", number - first);
			put_link(&born[i], name, number, parent, netns_fd);
			put_address(&addressed[i], number);
			if (i == 0 && j == 0)
				put_default_route(&addressed[i], number);
		}
	}
	start();
	for (int i = 0; i < sends; i++) {
		send_batch(here, &born[i]);
		send_batch(there, &addressed[i]);
		mark(smaller(count, (i + 1) * LINKS_PER_SEND));
	}
	return finish();
}

static int delete(const char *netns)
{
	int there = open_socket_in(netns);
	uint32_t group = GROUP;
	struct batch batch = new_batch(1);
	put_message(&batch, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	put(&batch, IFLA_GROUP, &group, 4);
	start();
	send_batch(there, &batch);
	return finish();
}

/* Namespaces. */

static const char *directory;
static int to_make, next_to_make;
static struct place { char path[256]; int netns, socket; } *places;

/* A procfs of one's own begins with an empty directory cache: through /proc/sys every look-up would walk past those of
 * all namespaces before it. */
static int open_procfs(void)
{
	int context, root;
	MUST(context = syscall(SYS_fsopen, "proc", 1 /* FSOPEN_CLOEXEC */));
	MUST(syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0));
	MUST(root = syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, 0));
	close(context);
	return root;
}

static void *make(void *unused)
{
	int procfs = open_procfs(), i, fd;
	while ((i = __atomic_fetch_add(&next_to_make, 1, __ATOMIC_RELAXED)) < to_make) {
		struct place *place = &places[i];
		MUST(fd = open(place->path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0));
		close(fd);
		MUST(unshare(CLONE_NEWNET));
		MUST(place->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
		place->socket = open_socket();
		MUST(fd = openat(procfs, "sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
		MUST(write(fd, "1", 1));
		close(fd);
		MUST(mount("/proc/thread-self/ns/net", place->path, NULL, MS_BIND, NULL));
	}
	close(procfs);
	return unused;
}

/* With parent 0 there is no link, and neither address nor route. */
static int sandboxes(int parent, int first, int count)
{
	int chunks = (count + NAMESPACES_PER_CHUNK - 1) / NAMESPACES_PER_CHUNK, here = open_socket();
	struct place *all = grab(count, sizeof *all);
	int **descriptors = grab(count, sizeof *descriptors);
	struct batch *born = grab(chunks, sizeof *born), *configured = grab(count, sizeof *configured);
	for (int i = 0; i < count; i++) {
		struct batch *batch = &born[i / NAMESPACES_PER_CHUNK];
		if (i % NAMESPACES_PER_CHUNK == 0)
			*batch = new_batch(NAMESPACES_PER_CHUNK);
		snprintf(all[i].path, sizeof all[i].path, "%s/f-%d", directory, first + i);
		configured[i] = new_batch(3);
		put_loopback_up(&configured[i]);
		if (!parent)
			continue;
		descriptors[i] = put_link(batch, "eth0", first + i, parent, -1);
		put_address(&configured[i], first + i);
		put_default_route(&configured[i], first + i);
	}
	start();
	for (int done = 0; done < count; done += to_make) {
		pthread_t makers[MAKERS];
		places = all + done;
		to_make = smaller(NAMESPACES_PER_CHUNK, count - done);
		next_to_make = 0;
		for (int i = 0; i < MAKERS; i++)
			if ((errno = pthread_create(&makers[i], NULL, make, NULL)))
				fail("pthread_create");
		for (int i = 0; i < MAKERS; i++)
			pthread_join(makers[i], NULL);
		for (int i = 0; parent && i < to_make; i++)
			*descriptors[done + i] = places[i].netns;
		if (parent)
			send_batch(here, &born[done / NAMESPACES_PER_CHUNK]);
		for (int i = 0; i < to_make; i++) {
			send_batch(places[i].socket, &configured[done + i]);
			close(places[i].socket);
			close(places[i].netns);
		}
		mark(done + to_make);
	}
	return finish();
}

/* How many MACs the parent's filter list holds beside its own: as many as there are macvlans up on it, dying ones too. */
static int filter_size(int fd, int parent)
{
	static char part[64 << 10];
	struct batch batch = new_batch(1);
	struct ndmsg *body = put_message(&batch, RTM_GETNEIGH, NLM_F_DUMP, sizeof *body);
	int count = 0;
	body->ndm_family = AF_BRIDGE;
	body->ndm_ifindex = parent;
	MUST(send(fd, batch.bytes, batch.length, 0));
	free(batch.bytes);
	for (;;) {
		ssize_t left = recv(fd, part, sizeof part, 0);
		MUST(left);
		for (struct nlmsghdr *one = (struct nlmsghdr *)part; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
			if (one->nlmsg_type == NLMSG_DONE)
				return count;
			struct ndmsg *entry = NLMSG_DATA(one);
			unsigned char *mac = RTA_DATA((struct rtattr *)(entry + 1));
			if (one->nlmsg_type == RTM_NEWNEIGH && entry->ndm_ifindex == parent && entry->ndm_flags & NTF_SELF)
				count += mac[0] == 2 && mac[1] == 0x42;
		}
	}
}

static int remove_all(int parent)
{
	struct dirent *entry;
	char path[512];
	int here = open_socket(), strict = 1;
	MUST(setsockopt(here, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict, sizeof strict));
	start();
	DIR *pins = opendir(directory);
	if (!pins)
		fail(directory);
	while ((entry = readdir(pins))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		MUST(umount2(path, MNT_DETACH));
		MUST(unlink(path));
	}
	while (filter_size(here, parent))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return finish();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (argc == 6 && !strcmp(what, "links"))
		return links(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	if (argc == 3 && !strcmp(what, "delete"))
		return delete(argv[2]);
	directory = argc > 2 ? argv[2] : "";
	if (argc == 5 && !strcmp(what, "namespaces"))
		return sandboxes(0, atoi(argv[3]), atoi(argv[4]));
	if (argc == 6 && !strcmp(what, "sandboxes"))
		return sandboxes(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	if (argc == 4 && !strcmp(what, "remove"))
		return remove_all(atoi(argv[3]));
	fprintf(stderr, "usage: floor links|delete|namespaces|sandboxes|remove ...: see the head of floor.c\n");
	return 2;
}
