/*
 * The serial port (a 16550A UART at 0x3f8), and a small printf on top of it.
 *
 * Sending a character is: wait until the transmitter is empty, write the byte to the data port.
 */
#include <stdarg.h>

#include "tour.h"

enum {
    COM1 = 0x3f8,
    DATA = COM1 + 0,
    INTERRUPT_ENABLE = COM1 + 1,
    FIFO_CONTROL = COM1 + 2,
    LINE_CONTROL = COM1 + 3,
    MODEM_CONTROL = COM1 + 4,
    LINE_STATUS = COM1 + 5,

    DIVISOR_ACCESS = 0x80, /* line control: the first two ports are the baud rate divisor */
    EIGHT_BITS = 0x03,
    TRANSMITTER_EMPTY = 0x20, /* line status */
};

void console_start(void)
{
    out8(INTERRUPT_ENABLE, 0); /* we poll */
    out8(LINE_CONTROL, DIVISOR_ACCESS);
    out8(DATA, 1); /* 115200 baud: the UART's clock is 1.8432 MHz, a bit takes 16 cycles */
    out8(INTERRUPT_ENABLE, 0);
    out8(LINE_CONTROL, EIGHT_BITS);
    out8(FIFO_CONTROL, 0x07);  /* on, and both emptied */
    out8(MODEM_CONTROL, 0x03); /* DTR and RTS: we are here */
}

static void put(char c)
{
    if (c == '\n')
        put('\r');
    while (!(in8(LINE_STATUS) & TRANSMITTER_EMPTY))
        ;
    out8(DATA, (u8)c);
}

/*
 * 64 bits by 32 bits in two steps, like long division on paper with digits of 32 bits: the DIV instruction divides
 * EDX:EAX, and its quotient must fit 32 bits. It does, because the remainder of the first step is smaller than 'by'.
 */
u64 divide(u64 number, u32 by, u32 *remainder)
{
    u32 high = (u32)(number >> 32), low = (u32)number, rest = 0;
    __asm__("divl %2" : "+a"(high), "+d"(rest) : "r"(by));
    __asm__("divl %2" : "+a"(low), "+d"(rest) : "r"(by));
    if (remainder)
        *remainder = rest;
    return (u64)high << 32 | low;
}

static void put_number(u64 number, u32 base, u32 width, char pad)
{
    char digits[20];
    u32 count = 0, digit;
    do {
        number = divide(number, base, &digit);
        digits[count++] = "0123456789abcdef"[digit];
    } while (number);
    for (; width > count; width--)
        put(pad);
    while (count)
        put(digits[--count]);
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        format++;
        int left = *format == '-';
        format += left;
        char pad = *format == '0' ? '0' : ' ';
        u32 width = 0;
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (u32)(*format - '0');
        const char *text;
        u32 length = 0;
        switch (*format) {
        case 's':
            text = va_arg(arguments, const char *);
            for (; text[length]; length++)
                put(text[length]);
            for (; left && length < width; length++)
                put(' ');
            break;
        case 'c': put((char)va_arg(arguments, int)); break;
        case 'u': put_number(va_arg(arguments, u32), 10, width, pad); break;
        case 'x': put_number(va_arg(arguments, u32), 16, width, pad); break;
        case 'U': put_number(va_arg(arguments, u64), 10, width, pad); break;
        case 'X': put_number(va_arg(arguments, u64), 16, width, pad); break;
        default: put(*format);
        }
    }
    va_end(arguments);
}

void heading(const char *text)
{
    u32 length = 0;
    say("\n%s\n", text);
    while (text[length++])
        put('-');
    put('\n');
}
