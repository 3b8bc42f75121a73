// SPDX-License-Identifier: GPL-2.0
/*
 * Linux driver of the device 'checksummer': /dev/crc32. What is written to it goes through the device; reading gives the
 * CRC-32 of the last write, as eight hexadecimal digits and a newline.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/uaccess.h>

#define REG_MAGIC	0x00
#define REG_CONTROL	0x04
#define REG_STATUS	0x08
#define REG_SOURCE	0x10
#define REG_SOURCE_HIGH	0x14
#define REG_LENGTH	0x18
#define REG_RESULT	0x1c

#define CONTROL_START	1
#define CONTROL_IRQ	2
#define STATUS_DONE	1
#define STATUS_FAILED	2

#define MAGIC		0x32335243
#define BUFFER_SIZE	65536

struct crc32_device {
	struct miscdevice misc;
	struct pci_dev *pdev;
	void __iomem *regs;
	void *buffer;
	dma_addr_t bus_address;
	struct mutex lock;
	struct completion done;
	u32 status;
	u32 result;
};

static irqreturn_t crc32_interrupt(int irq, void *data)
{
	struct crc32_device *crc = data;
	u32 status = ioread32(crc->regs + REG_STATUS);

	if (!(status & STATUS_DONE))
		return IRQ_NONE;	/* somebody else's, on a shared line */
	crc->status = status;
	iowrite32(status, crc->regs + REG_STATUS);	/* lowers the line */
	complete(&crc->done);
	return IRQ_HANDLED;
}

static struct crc32_device *device_of(struct file *file)
{
	return container_of(file->private_data, struct crc32_device, misc);
}

static ssize_t crc32_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	struct crc32_device *crc = device_of(file);
	ssize_t answer;

	size = min_t(size_t, size, BUFFER_SIZE);
	mutex_lock(&crc->lock);
	answer = -EFAULT;
	if (copy_from_user(crc->buffer, from, size))
		goto out;
	reinit_completion(&crc->done);
	iowrite32(lower_32_bits(crc->bus_address), crc->regs + REG_SOURCE);
	iowrite32(upper_32_bits(crc->bus_address), crc->regs + REG_SOURCE_HIGH);
	iowrite32(size, crc->regs + REG_LENGTH);
	iowrite32(CONTROL_START | CONTROL_IRQ, crc->regs + REG_CONTROL);
	answer = -EIO;
	if (!wait_for_completion_timeout(&crc->done, 5 * HZ) || crc->status & STATUS_FAILED)
		goto out;
	crc->result = ioread32(crc->regs + REG_RESULT);
	answer = size;
out:
	mutex_unlock(&crc->lock);
	return answer;
}

static ssize_t crc32_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	char text[10];
	int length = scnprintf(text, sizeof(text), "%08x\n", device_of(file)->result);

	return simple_read_from_buffer(to, size, at, text, length);
}

static const struct file_operations crc32_operations = {
	.owner = THIS_MODULE,
	.read = crc32_read,
	.write = crc32_write,
};

static int crc32_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct crc32_device *crc = devm_kzalloc(&pdev->dev, sizeof(*crc), GFP_KERNEL);
	int error;

	if (!crc)
		return -ENOMEM;
	crc->pdev = pdev;
	mutex_init(&crc->lock);
	init_completion(&crc->done);
	error = pcim_enable_device(pdev);
	if (error)
		return error;
	error = pcim_iomap_regions(pdev, BIT(0), "crc32");
	if (error)
		return error;
	crc->regs = pcim_iomap_table(pdev)[0];
	if (ioread32(crc->regs + REG_MAGIC) != MAGIC)
		return -ENODEV;
	error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	pci_set_master(pdev);
	crc->buffer = dmam_alloc_coherent(&pdev->dev, BUFFER_SIZE, &crc->bus_address, GFP_KERNEL);
	if (!crc->buffer)
		return -ENOMEM;
	error = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_ALL_TYPES);
	if (error < 0)
		return error;
	error = request_irq(pci_irq_vector(pdev, 0), crc32_interrupt, IRQF_SHARED, "crc32", crc);
	if (error)
		goto free_vectors;
	crc->misc.minor = MISC_DYNAMIC_MINOR;
	crc->misc.name = "crc32";
	crc->misc.fops = &crc32_operations;
	crc->misc.parent = &pdev->dev;
	error = misc_register(&crc->misc);
	if (error)
		goto free_interrupt;
	pci_set_drvdata(pdev, crc);
	return 0;

free_interrupt:
	free_irq(pci_irq_vector(pdev, 0), crc);
free_vectors:
	pci_free_irq_vectors(pdev);
	return error;
}

static void crc32_remove(struct pci_dev *pdev)
{
	struct crc32_device *crc = pci_get_drvdata(pdev);

	misc_deregister(&crc->misc);
	free_irq(pci_irq_vector(pdev, 0), crc);
	pci_free_irq_vectors(pdev);
}

static const struct pci_device_id crc32_ids[] = {
	{ PCI_DEVICE(0x1234, 0xcc32) },
	{ }
};
MODULE_DEVICE_TABLE(pci, crc32_ids);

static struct pci_driver crc32_driver = {
	.name = "crc32_pci",
	.id_table = crc32_ids,
	.probe = crc32_probe,
	.remove = crc32_remove,
};
module_pci_driver(crc32_driver);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Driver of pcemu's example device 'checksummer'");
