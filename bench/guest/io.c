/* Device benchmarks, for a Linux guest. Each prints a line "BEGIN", works, and prints "END COUNT"; whoever reads the console times it.
 *
 * io read DEVICE MIB            sequential, 1 MiB at once, past the page cache
 * io write DEVICE MIB           the same
 * io random DEVICE THREADS N    N reads of 4 KiB at random places, by threads
 * io fsync DEVICE N             N times: write 4 KiB, flush
 * io send FILE BYTES            writes to a terminal or port, until all of it is out
 * io receive FILE BYTES         reads from a terminal that somebody feeds
 * io port PORT N                N writes to an I/O port (0x80, for one)
 * io gap DEVICE N               N reads of 4 KiB, half a millisecond of work before each; a line "GAPS MEDIAN P99 MAX" says how many
 *                               microseconds the reads took
 * io ticks N                    N sleeps to the next millisecond; GAPS: how much too late they ended
 * io echo FILE N                N bytes from a terminal and back to it
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)

static const char *device;
static long blocks, each;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_device(int flags)
{
	int fd = open(device, flags);
	unsigned long long size = 0;
	if (fd < 0)
		die(device);
	ioctl(fd, BLKGETSIZE64, &size);
	blocks = size / 4096;
	return fd;
}

static void *room(size_t size)
{
	void *p;
	if (posix_memalign(&p, 4096, size))
		die("memory");
	memset(p, 0x5a, size);
	return p;
}

static unsigned next(unsigned *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	return *seed ^= *seed << 5;
}

static void *reader(void *number)
{
	unsigned seed = 12345 + 777 * (long)number;
	int fd = open_device(O_RDONLY | O_DIRECT);
	void *to = room(4096);
	for (long i = 0; i < each; i++)
		if (pread(fd, to, 4096, next(&seed) % blocks * 4096L) != 4096)
			die("pread");
	return 0;
}

static void sequential(int writing, long mib)
{
	int fd = open_device((writing ? O_WRONLY : O_RDONLY) | O_DIRECT);
	char *buffer = room(MIB);
	for (long i = 0; i < mib; i++) {
		long at = i % (blocks / 256) * MIB;
		if ((writing ? pwrite(fd, buffer, MIB, at) : pread(fd, buffer, MIB, at)) != MIB)
			die("sequential");
	}
}

static void random_reads(int threads, long count)
{
	pthread_t thread[64];
	each = count / threads;
	for (long i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, reader, (void *)i);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
}

static void flushes(long count)
{
	unsigned seed = 99;
	int fd = open_device(O_WRONLY | O_DIRECT);
	void *from = room(4096);
	for (long i = 0; i < count; i++)
		if (pwrite(fd, from, 4096, next(&seed) % blocks * 4096L) != 4096 || fdatasync(fd))
			die("fsync");
}

static int open_terminal(int flags)
{
	struct termios mode;
	int fd = open(device, flags | O_NOCTTY);
	if (fd < 0)
		die(device);
	if (!tcgetattr(fd, &mode)) {
		cfmakeraw(&mode);
		cfsetspeed(&mode, B115200);
		tcsetattr(fd, TCSANOW, &mode);
	}
	return fd;
}

static void receiving(long count)
{
	static char text[4096];
	int fd = open_terminal(O_RDONLY);
	while (count > 0) {
		ssize_t done = read(fd, text, sizeof text);
		if (done <= 0)
			die("read");
		count -= done;
	}
}

static void sending(long count)
{
	static char text[4096];
	int fd = open_terminal(O_WRONLY);
	memset(text, 'x', sizeof text);
	while (count > 0) {
		ssize_t done = write(fd, text, count < 4096 ? count : 4096);
		if (done <= 0)
			die("write");
		count -= done;
	}
	tcdrain(fd);
}

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;
	return (x > y) - (x < y);
}

static void say_gaps(long *took, long count)
{
	qsort(took, count, sizeof *took, compare);
	printf("GAPS %ld %ld %ld\n", took[count / 2], took[count * 99 / 100], took[count - 1]);
}

static void ticks(long count)
{
	long *late = calloc(count, sizeof *late);
	struct timespec at, now;
	clock_gettime(CLOCK_MONOTONIC, &at);
	for (long i = 0; i < count; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		do
			at.tv_nsec += 1000000;
		while ((at.tv_sec - now.tv_sec) * 1000000000L + at.tv_nsec - now.tv_nsec <= 0);
		if (at.tv_nsec >= 1000000000) {
			at.tv_nsec -= 1000000000;
			at.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
		late[i] = ((now.tv_sec - at.tv_sec) * 1000000000L + now.tv_nsec - at.tv_nsec) / 1000;
	}
	say_gaps(late, count);
}

static void echo(long count)
{
	int fd = open_terminal(O_RDWR);
	char byte;
	printf("BEGIN\n"); /* now it is raw */
	fflush(stdout);
	while (count--)
		if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1)
			die("echo");
}

static void gaps(long count)
{
	unsigned seed = 7;
	int fd = open_device(O_RDONLY | O_DIRECT);
	void *to = room(4096);
	long *took = calloc(count, sizeof *took);
	struct timespec a, b;
	for (long i = 0; i < count; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		do /* work that needs no device: meanwhile others may run Python */
			clock_gettime(CLOCK_MONOTONIC, &a);
		while ((a.tv_sec - b.tv_sec) * 1000000000L + a.tv_nsec - b.tv_nsec < 500000);
		if (pread(fd, to, 4096, next(&seed) % blocks * 4096L) != 4096)
			die("pread");
		clock_gettime(CLOCK_MONOTONIC, &b);
		took[i] = ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / 1000;
	}
	say_gaps(took, count);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	long count = atol(argv[argc - 1]);
	device = argv[2];
	if (!strcmp(what, "echo")) {
		echo(count);
		printf("END %ld\n", count);
		return 0;
	}
	printf("BEGIN\n");
	fflush(stdout);
	if (!strcmp(what, "read"))
		sequential(0, count);
	else if (!strcmp(what, "write"))
		sequential(1, count);
	else if (!strcmp(what, "random"))
		random_reads(atoi(argv[3]), count);
	else if (!strcmp(what, "fsync"))
		flushes(count);
	else if (!strcmp(what, "send"))
		sending(count);
	else if (!strcmp(what, "receive"))
		receiving(count);
	else if (!strcmp(what, "gap"))
		gaps(count);
	else if (!strcmp(what, "ticks"))
		ticks(count);
	else if (!strcmp(what, "port")) {
		if (iopl(3))
			die("iopl");
		for (long i = 0; i < count; i++)
			outb(i, strtol(argv[2], 0, 0));
	} else
		return 2;
	printf("END %ld\n", count);
	return 0;
}
