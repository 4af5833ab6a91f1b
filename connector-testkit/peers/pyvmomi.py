"""Says what pyvmomi sees of a vCenter, as the rows that the connector's data sets are to have.

One line of JSON comes in: port, user and password. One goes out: by data set a list of rows, each a
text or null by column. What a column is, is written down here once more, from VMware's reference and
not from the connector's declarations.
"""

import datetime
import json
import sys

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim


def at(thing, path):
    """Follows properties; what is below an absent one is absent."""
    for name in path.split("."):
        if thing is None:
            return None
        thing = getattr(thing, name)
    return thing


def text(value):
    if value is None or isinstance(value, str):
        # Texts are of a class of its own, which is not that of JSON's.
        return None if value is None else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, vim.ManagedEntity):
        return value._GetMoId()
    return str(value)


def kind(thing):
    return None if thing is None else thing._wsdlName


class Inventory:
    def __init__(self, content):
        self.content = content
        self.rows = {}

    def above(self, entity):
        """Everything from an entity up to what is right below the root folder.

        The root folder's parent is not asked for: that it has none takes the simulator down.
        """
        while entity != self.content.rootFolder:
            yield entity
            entity = entity.parent

    def path(self, folder):
        return "".join("/" + entity.name for entity in reversed(list(self.above(folder))))

    def datacenter(self, folder):
        above = self.above(folder)
        return next((entity for entity in above if isinstance(entity, vim.Datacenter)), None)

    def all(self, of):
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [of], True)
        found = list(view.view)
        view.DestroyView()
        return found

    def add(self, dataset, rows):
        about = self.content.about.instanceUuid
        rows = [{"vcenter": about, **row} for row in rows]
        self.rows[dataset] = [{name: text(cell) for name, cell in row.items()} for row in rows]

    def machines(self):
        machines = self.all(vim.VirtualMachine)
        self.add(
            "virtual_machines",
            (
                {
                    "vm": vm,
                    "name": vm.name,
                    "folder": vm.parent,
                    "resource_pool": vm.resourcePool,
                    "host": vm.runtime.host,
                    "instance_uuid": at(vm, "config.instanceUuid"),
                    "bios_uuid": at(vm, "config.uuid"),
                    "is_template": at(vm, "config.template"),
                    "hardware_version": at(vm, "config.version"),
                    "annotation": at(vm, "config.annotation"),
                    "created_at": at(vm, "config.createDate"),
                    "change_version": at(vm, "config.changeVersion"),
                    "configured_guest_id": at(vm, "config.guestId"),
                    "configured_guest_name": at(vm, "config.guestFullName"),
                    "cpus": at(vm, "config.hardware.numCPU"),
                    "cores_per_socket": at(vm, "config.hardware.numCoresPerSocket"),
                    "memory_mb": at(vm, "config.hardware.memoryMB"),
                    "power_state": vm.runtime.powerState,
                    "connection_state": vm.runtime.connectionState,
                    "booted_at": vm.runtime.bootTime,
                    "guest_host_name": at(vm, "guest.hostName"),
                    "guest_ip_address": at(vm, "guest.ipAddress"),
                    "guest_id": at(vm, "guest.guestId"),
                    "guest_name": at(vm, "guest.guestFullName"),
                    "guest_family": at(vm, "guest.guestFamily"),
                    "tools_running_status": at(vm, "guest.toolsRunningStatus"),
                    "tools_version_status": at(vm, "guest.toolsVersionStatus2"),
                    "tools_version": at(vm, "guest.toolsVersion"),
                    "path": at(vm, "summary.config.vmPathName"),
                    "storage_committed_bytes": at(vm, "summary.storage.committed"),
                    "storage_uncommitted_bytes": at(vm, "summary.storage.uncommitted"),
                }
                for vm in machines
            ),
        )
        self.add(
            "vm_adapters",
            (
                {
                    "vm": vm,
                    "device": nic.deviceConfigId,
                    "mac_address": nic.macAddress or "",
                    "network_name": nic.network,
                    "connected": nic.connected,
                    "ip_addresses": "; ".join(nic.ipAddress) or None,
                }
                for vm in machines
                for nic in at(vm, "guest.net") or []
            ),
        )
        self.add(
            "vm_datastores",
            ({"vm": vm, "datastore": store} for vm in machines for store in vm.datastore),
        )
        self.add(
            "vm_networks",
            ({"vm": vm, "network": network} for vm in machines for network in vm.network),
        )
        self.add("vm_custom_values", self.custom_values("vm", machines))

    def custom_values(self, name, entities):
        for entity in entities:
            for value in entity.customValue:
                yield {name: entity, "field": value.key, "value": value.value}

    def hosts(self):
        hosts = self.all(vim.HostSystem)
        self.add(
            "hosts",
            (
                {
                    "host": host,
                    "name": host.name,
                    "parent": host.parent,
                    "parent_type": kind(host.parent),
                    "vendor": at(host, "hardware.systemInfo.vendor"),
                    "model": at(host, "hardware.systemInfo.model"),
                    "uuid": at(host, "hardware.systemInfo.uuid"),
                    "serial_number": at(host, "hardware.systemInfo.serialNumber"),
                    "bios_version": at(host, "hardware.biosInfo.biosVersion"),
                    "bios_released_at": at(host, "hardware.biosInfo.releaseDate"),
                    "cpu_model": at(host, "summary.hardware.cpuModel"),
                    "cpu_mhz": at(host, "summary.hardware.cpuMhz"),
                    "cpu_packages": at(host, "hardware.cpuInfo.numCpuPackages"),
                    "cpu_cores": at(host, "hardware.cpuInfo.numCpuCores"),
                    "cpu_threads": at(host, "hardware.cpuInfo.numCpuThreads"),
                    "memory_bytes": at(host, "hardware.memorySize"),
                    "product": at(host, "config.product.name"),
                    "version": at(host, "config.product.version"),
                    "build": at(host, "config.product.build"),
                    "licence_product": at(host, "config.product.licenseProductName"),
                    "connection_state": host.runtime.connectionState,
                    "power_state": host.runtime.powerState,
                    "in_maintenance_mode": host.runtime.inMaintenanceMode,
                    "booted_at": host.runtime.bootTime,
                    "management_server_ip": host.summary.managementServerIp,
                }
                for host in hosts
            ),
        )
        self.add(
            "host_identifiers",
            (
                {
                    "host": host,
                    "kind": info.identifierType.key,
                    "value": info.identifierValue,
                }
                for host in hosts
                for info in at(host, "hardware.systemInfo.otherIdentifyingInfo") or []
            ),
        )
        self.add("host_vms", ({"host": host, "vm": vm} for host in hosts for vm in host.vm))
        self.add("host_custom_values", self.custom_values("host", hosts))

    def places(self):
        self.add(
            "clusters",
            (
                {
                    "cluster": cluster,
                    "name": cluster.name,
                    "folder": cluster.parent,
                    "resource_pool": cluster.resourcePool,
                    "hosts": cluster.summary.numHosts,
                    "cpu_cores": cluster.summary.numCpuCores,
                    "cpu_threads": cluster.summary.numCpuThreads,
                    "cpu_mhz": cluster.summary.totalCpu,
                    "memory_bytes": cluster.summary.totalMemory,
                    "effective_hosts": cluster.summary.numEffectiveHosts,
                    "effective_cpu_mhz": cluster.summary.effectiveCpu,
                    "effective_memory_mb": cluster.summary.effectiveMemory,
                }
                for cluster in self.all(vim.ClusterComputeResource)
            ),
        )
        self.add(
            "resource_pools",
            (
                {
                    "resource_pool": pool,
                    "name": pool.name,
                    "parent": pool.parent,
                    "parent_type": kind(pool.parent),
                    "owner": pool.owner,
                    "cpu_reservation_mhz": pool.config.cpuAllocation.reservation,
                    "cpu_limit_mhz": pool.config.cpuAllocation.limit,
                    "memory_reservation_mb": pool.config.memoryAllocation.reservation,
                    "memory_limit_mb": pool.config.memoryAllocation.limit,
                }
                for pool in self.all(vim.ResourcePool)
            ),
        )
        self.add(
            "datacenters",
            (
                {
                    "datacenter": place,
                    "name": place.name,
                    "folder": place.parent,
                    "vm_folder": place.vmFolder,
                    "host_folder": place.hostFolder,
                    "datastore_folder": place.datastoreFolder,
                    "network_folder": place.networkFolder,
                }
                for place in self.all(vim.Datacenter)
            ),
        )
        self.add(
            "folders",
            (
                {
                    "folder": folder,
                    "name": folder.name,
                    "parent": folder.parent,
                    "parent_type": kind(folder.parent),
                    "path": self.path(folder),
                    "datacenter": self.datacenter(folder),
                    "child_types": "; ".join(map(kind_name, folder.childType)) or None,
                }
                for folder in self.all(vim.Folder)
            ),
        )

    def storage(self):
        stores = self.all(vim.Datastore)
        self.add(
            "datastores",
            (
                {
                    "datastore": store,
                    "name": store.name,
                    "folder": store.parent,
                    "kind": store.summary.type,
                    "url": store.summary.url,
                    "capacity_bytes": store.summary.capacity,
                    "free_bytes": store.summary.freeSpace,
                    "accessible": store.summary.accessible,
                    "shared": store.summary.multipleHostAccess,
                    "maintenance_mode": store.summary.maintenanceMode,
                }
                for store in stores
            ),
        )
        self.add(
            "datastore_hosts",
            (
                {
                    "datastore": store,
                    "host": mount.key,
                    "access_mode": mount.mountInfo.accessMode,
                    "mounted": mount.mountInfo.mounted,
                    "accessible": mount.mountInfo.accessible,
                }
                for store in stores
                for mount in store.host
            ),
        )
        self.add(
            "networks",
            (
                {
                    "network": network,
                    "name": network.name,
                    "folder": network.parent,
                    "accessible": network.summary.accessible,
                    "ip_pool": network.summary.ipPoolName,
                }
                for network in self.all(vim.Network)
            ),
        )

    def managers(self):
        self.add(
            "custom_fields",
            (
                {
                    "field": field.key,
                    "name": field.name,
                    "kind": kind_name(field.type),
                    "object_type": kind_name(field.managedObjectType),
                }
                for field in self.content.customFieldsManager.field
            ),
        )
        licences = self.content.licenseManager
        self.add(
            "licences",
            (
                {
                    "licence_key": licence.licenseKey,
                    "edition": licence.editionKey,
                    "name": licence.name,
                    "total": licence.total,
                    "used": licence.used,
                    "cost_unit": licence.costUnit,
                }
                for licence in licences.licenses
            ),
        )
        self.add(
            "licence_assignments",
            (
                {
                    "entity": assigned.entityId,
                    "licence_key": assigned.assignedLicense.licenseKey,
                    "scope": assigned.scope,
                    "entity_name": assigned.entityDisplayName,
                    "licence_name": assigned.assignedLicense.name,
                    "edition": assigned.assignedLicense.editionKey,
                }
                for assigned in licences.licenseAssignmentManager.QueryAssignedLicenses()
            ),
        )


def kind_name(named):
    """The name of a type on the wire, of which pyvmomi has made a class."""
    return getattr(named, "_wsdlName", named) if named is not None else None


def see(port, user, password):
    instance = SmartConnect(protocol="http", host="127.0.0.1", port=port, user=user, pwd=password)
    inventory = Inventory(instance.RetrieveContent())
    inventory.machines()
    inventory.hosts()
    inventory.places()
    inventory.storage()
    inventory.managers()
    Disconnect(instance)
    return inventory.rows


def main():
    asked = json.loads(sys.stdin.readline())
    try:
        answer = {"ok": see(asked["port"], asked["user"], asked["password"])}
    except Exception as error:  # The test shows whatever it is.
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)


main()
